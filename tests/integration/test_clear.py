"""Clear, restore and export on the demo cluster: exactly what was planned, and back again."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from demo_cluster import DemoCluster

import iris_admin
from iris_admin.audit import read_audit
from iris_admin.backup import open_backup, read_backup
from iris_admin.cluster import Cluster
from iris_admin.errors import AuditError, BackupError, ConfigError, NoSuchUser, UnsafeOperation
from iris_admin.operations import clear as clear_module
from iris_admin.operations.user import UserReport
from tests.support.demo import LogIn

PAYLOADS = [b"message %d \xff" % number for number in range(30)]


@pytest.fixture(autouse=True)
def backup_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Backups of these tests go where they are removed."""
    monkeypatch.setenv("IRIS_ADMIN_BACKUP_DIR", str(tmp_path / "backups"))
    monkeypatch.setenv("IRIS_ADMIN_AUDIT_FILE", str(tmp_path / "audit.jsonl"))
    return tmp_path / "backups"


@contextmanager
def joined(demo: DemoCluster, seed: str | None = None) -> Iterator[Cluster]:
    """A connection to every node of a demo cluster."""
    with iris_admin.connect_cluster(
        seed or demo.seed, cookie_file=demo.cookie_file, epmd_port=demo.epmd_port
    ) as cluster:
        yield cluster


@pytest.fixture(params=["bucketed", "bare"])
def demo(request: pytest.FixtureRequest, demo_cluster_with: Callable[..., DemoCluster]) -> DemoCluster:
    """A cluster of each schema."""
    return demo_cluster_with(schema=request.param)


def rows(demo: DemoCluster, user: str) -> str:
    """All rows of a user, as the core has them."""
    keys = ", ".join([f'<<"{user}">>', *(f'{{<<"{user}">>, {bucket}}}' for bucket in range(16))])
    return demo.cores[0].evaluate(
        f"lists:sort(lists:append([mnesia:dirty_read(offline_msg, Key) || Key <- [{keys}]]))."
    )


class TestClear:
    def test_exactly_the_plan_goes_and_comes_back(
        self, demo: DemoCluster, user: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(clear_module, "BATCH", 7)
        demo.cores[0].evaluate(f'iris_core:set_bucket_count(<<"{user}">>, 4).')
        demo.store(user, PAYLOADS)
        demo.cores[0].evaluate(f'iris_core:store_batch(<<"{user}">>, [<<"one">>, <<"two">>]).')
        before = rows(demo, user)
        with joined(demo) as cluster:
            plan = cluster.offline_clear_plan(user)
            demo.store(user, [b"later"])
            done = cluster.offline_clear(plan)
            assert demo.stored(user) == [b"later"]
            assert plan.total_records == len(plan.records[demo.seed]) == done.planned == done.deleted
            assert plan.total_messages == len(PAYLOADS) + 2 == len(plan.messages)
            assert (done.gone, done.left, done.arrived, done.verified) == (0, 0, 1, True)
            assert done.is_done
            (backup,) = done.backups
            assert sorted(map(repr, read_backup(backup))) == sorted(map(repr, plan.records[demo.seed]))
            demo.cores[0].evaluate(f'iris_core:retrieve_offline(<<"{user}">>).')
            restored = cluster.offline_restore(backup)
        assert (restored.records, restored.put_back, restored.already_stored) == (plan.total_records,) * 2 + (0,)
        assert rows(demo, user) == before

    def test_it_is_in_the_audit_file(self, demo: DemoCluster, user: str) -> None:
        demo.store(user, PAYLOADS[:3])
        with joined(demo) as cluster:
            done = cluster.offline_clear(cluster.offline_clear_plan(user))
            cluster.offline_restore(done.backups[0])
        first, second = read_audit().entries
        assert (first.command, first.node, first.backup) == ("offline clear", demo.seed, str(done.backups[0]))
        assert first.plan == {"user": user, "records": 3, "messages": 3, "bytes": 33}
        assert first.outcome == "deleted 3 of 3 rows, 0 were gone"
        assert (second.command, second.plan["records"]) == ("offline restore", 3)
        assert second.outcome.startswith("put back 3 of 3 records")

    def test_a_plan_shows_no_message(self, demo: DemoCluster, user: str) -> None:
        demo.store(user, [b"secret"])
        with joined(demo) as cluster:
            plan = cluster.offline_clear_plan(user)
        for shown in (repr(plan), plan._repr_html_(), json.dumps(plan.to_dict())):
            assert "secret" not in shown
        assert plan.to_dict()["messages"][0]["digest"]

    def test_what_was_fetched_meanwhile_is_counted(self, demo: DemoCluster, user: str) -> None:
        demo.store(user, PAYLOADS[:3])
        with joined(demo) as cluster:
            plan = cluster.offline_clear_plan(user)
            demo.cores[0].evaluate(f'iris_core:retrieve_offline(<<"{user}">>).')
            done = cluster.offline_clear(plan)
        assert (done.deleted, done.gone, done.left) == (0, 3, 0)

    def test_equal_payloads_of_another_moment_stay(self, demo: DemoCluster, user: str) -> None:
        demo.store(user, [b"same"])
        with joined(demo) as cluster:
            plan = cluster.offline_clear_plan(user)
            demo.store(user, [b"same"])
            done = cluster.offline_clear(plan)
        assert (done.deleted, done.arrived) == (1, 1)
        assert demo.stored(user) == [b"same"]

    def test_integers_and_floats_are_told_apart(self, demo_cluster: DemoCluster, user: str) -> None:
        core = demo_cluster.cores[0]
        core.evaluate(f'mnesia:dirty_write({{offline_msg, {{<<"{user}">>, 0}}, 1, #{{a => 1}}}}).')
        with joined(demo_cluster) as cluster:
            plan = cluster.offline_clear_plan(user)
            core.evaluate(f'mnesia:dirty_write({{offline_msg, {{<<"{user}">>, 0}}, 1, #{{a => 1.0}}}}).')
            done = cluster.offline_clear(plan)
        assert (done.deleted, done.arrived, done.left) == (1, 1, 0)
        assert rows(demo_cluster, user) == f'[{{offline_msg,{{<<"{user}">>,0}},1,#{{a => 1.0}}}}]'

    def test_only_the_oldest(self, demo: DemoCluster, user: str) -> None:
        demo.store(user, PAYLOADS[:5])
        with joined(demo) as cluster:
            plan = cluster.offline_clear_plan(user, oldest=2)
            assert "only the oldest 2" in plan.notes[0]
            cluster.offline_clear(plan)
        assert demo.stored(user) == PAYLOADS[2:5]

    def test_nothing_stored(self, demo: DemoCluster, user: str, log_in: LogIn, backup_directory: Path) -> None:
        log_in(demo.edges[0], user)
        with joined(demo) as cluster:
            done = cluster.offline_clear(cluster.offline_clear_plan(user))
        assert (done.planned, done.backups, done.is_done) == (0, (), True)
        assert not backup_directory.exists()
        assert len(read_audit().entries) == 0

    def test_a_user_whom_nobody_knows(self, demo: DemoCluster, user: str) -> None:
        with joined(demo) as cluster, pytest.raises(NoSuchUser, match=user):
            cluster.offline_clear_plan(user)

    @pytest.mark.parametrize("variable", ["IRIS_ADMIN_BACKUP_DIR", "IRIS_ADMIN_AUDIT_FILE"])
    def test_nothing_is_deleted_without_a_backup_and_a_record(
        self, demo: DemoCluster, user: str, monkeypatch: pytest.MonkeyPatch, variable: str
    ) -> None:
        demo.store(user, PAYLOADS[:3])
        monkeypatch.setenv(variable, "/proc/nowhere/file")
        with joined(demo) as cluster, pytest.raises((BackupError, AuditError)):
            cluster.offline_clear(cluster.offline_clear_plan(user))
        assert demo.stored(user) == PAYLOADS[:3]

    def test_a_running_core_that_cannot_be_reached_stops_it(self, user: str) -> None:
        with DemoCluster(cores=2, edges=1, hidden_edges=0) as demo, joined(demo) as cluster:
            demo.store(user, PAYLOADS[:3])
            plan = cluster.offline_clear_plan(user)
            other = demo.cores[1].name
            cluster.node(other).close()
            with pytest.raises(UnsafeOperation, match=other):
                cluster.offline_clear(plan)
            assert demo.stored(user) == PAYLOADS[:3]

    def test_on_two_cores_both_copies_are_cleared(self, user: str) -> None:
        with DemoCluster(cores=2, edges=1, hidden_edges=0) as demo, joined(demo, demo.edges[0].name) as cluster:
            demo.store(user, PAYLOADS[:3])
            done = cluster.offline_clear(cluster.offline_clear_plan(user))
            assert done.deleted == 3
            for core in demo.cores:
                assert core.evaluate("ets:tab2list(offline_msg).") == "[]"
            cluster.offline_restore(done.backups[0])
            for core in demo.cores:
                assert core.evaluate("ets:info(offline_msg, size).") == "3"

    def test_the_core_dies_in_between(self, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(clear_module, "BATCH", 10)
        with DemoCluster(edges=1, hidden_edges=0) as demo:
            with joined(demo) as cluster:
                demo.store(user, PAYLOADS)
                plan = cluster.offline_clear_plan(user)
                original = clear_module.transaction
                done: list[int] = []

                def transaction(*args: object) -> object:
                    if len(done) == 1:
                        demo.kill_node(demo.cores[0])
                    done.append(1)
                    return original(*args)  # type: ignore[arg-type]

                monkeypatch.setattr(clear_module, "transaction", transaction)
                with pytest.raises(iris_admin.errors.IrisAdminError):
                    cluster.offline_clear(plan)
            (entry,) = read_audit().entries
            assert entry.outcome.startswith("failed")
            demo.restart_node(demo.cores[0])
            assert set(demo.stored(user)) <= set(PAYLOADS)


class TestRestore:
    @pytest.fixture
    def backup(self, demo: DemoCluster, user: str) -> Path:
        demo.store(user, PAYLOADS)
        with joined(demo) as cluster:
            return cluster.offline_clear(cluster.offline_clear_plan(user)).backups[0]

    def test_once_however_often(self, demo: DemoCluster, user: str, backup: Path) -> None:
        with joined(demo) as cluster:
            first, second = cluster.offline_restore(backup), cluster.offline_restore(backup)
            assert demo.stored(user) == PAYLOADS
            demo.cores[0].evaluate(f'iris_core:retrieve_offline(<<"{user}">>).')
            third = cluster.offline_restore(backup)
            assert demo.stored(user) == []
            fourth = cluster.offline_restore(backup, again=True)
        count = len(PAYLOADS)
        assert [
            (each.put_back, each.already_stored, each.put_back_before) for each in (first, second, third, fourth)
        ] == [
            (count, 0, 0),
            (0, count, 0),
            (0, 0, count),
            (count, 0, 0),
        ]
        assert demo.stored(user) == PAYLOADS
        assert any("--again" in note for note in third.notes)

    def test_a_dry_run_changes_nothing(self, demo: DemoCluster, user: str, backup: Path) -> None:
        before = len(read_audit().entries)
        with joined(demo) as cluster:
            would = cluster.offline_restore(backup, dry_run=True)
        assert (would.put_back, would.dry_run) == (len(PAYLOADS), True)
        assert demo.stored(user) == []
        assert len(read_audit().entries) == before
        assert not backup.with_name(backup.name + ".restored").exists()

    def test_what_is_stored_in_part(self, demo: DemoCluster, user: str, backup: Path) -> None:
        with joined(demo) as cluster:
            cluster.offline_restore(backup)
            cluster.offline_clear(cluster.offline_clear_plan(user, oldest=10))
            restored = cluster.offline_restore(backup, again=True)
        assert (restored.put_back, restored.already_stored) == (10, len(PAYLOADS) - 10)

    def test_a_file_that_was_changed(self, demo: DemoCluster, user: str, backup: Path) -> None:
        data = bytearray(backup.read_bytes())
        data[-1] ^= 1
        backup.write_bytes(data)
        with joined(demo) as cluster, pytest.raises(BackupError, match="cut or changed"):
            cluster.offline_restore(backup)
        assert demo.stored(user) == []

    def test_a_file_of_something_else(self, demo: DemoCluster) -> None:
        from iris_admin.backup import save_backup

        with joined(demo) as cluster, pytest.raises(BackupError, match="not for this table"):
            cluster.offline_restore(save_backup("other", [(iris_admin.Atom("other"), 1)]))

    def test_two_at_the_same_time(self, demo: DemoCluster, backup: Path) -> None:
        from iris_admin.restore import RestoreFile

        with RestoreFile(backup), joined(demo) as cluster, pytest.raises(BackupError, match="just now"):
            cluster.offline_restore(backup)

    def test_a_core_that_does_not_exist(self, demo: DemoCluster, backup: Path) -> None:
        with joined(demo) as cluster, pytest.raises(ConfigError, match="nowhere"):
            cluster.offline_restore(backup, core="nowhere@localhost")

    def test_a_table_with_other_keys(
        self, demo_cluster_with: Callable[..., DemoCluster], user: str, log_in: LogIn
    ) -> None:
        bucketed, bare = demo_cluster_with(schema="bucketed"), demo_cluster_with(schema="bare")
        for demo in (bucketed, bare):
            demo.store(user, PAYLOADS[:1])
        with joined(bucketed) as cluster:
            backup = cluster.offline_clear(cluster.offline_clear_plan(user)).backups[0]
        with joined(bare) as cluster, pytest.raises(UnsafeOperation, match="the bare user"):
            cluster.offline_restore(backup)

    def test_what_redeliver_has_saved(self, demo: DemoCluster, user: str, log_in: LogIn) -> None:
        client = log_in(demo.edges[0], user)
        demo.store(user, PAYLOADS[:3])
        with joined(demo) as cluster:
            backup = cluster.redeliver(user).backup
            assert backup is not None
            restored = cluster.offline_restore(backup)
        assert client.wait_for(3)
        assert restored.label == "redeliver"
        assert any("redelivery" in note for note in restored.notes)
        assert demo.stored(user) == PAYLOADS[:3]

    def test_an_unknown_atom_is_not_made(self, demo_cluster: DemoCluster, user: str) -> None:
        from iris_admin.backup import save_backup

        atom = f"never_seen_{user}"
        record = (iris_admin.Atom("offline_msg"), (user.encode(), 0), 1, {iris_admin.Atom(atom): 1})
        with joined(demo_cluster) as cluster, pytest.raises(iris_admin.errors.UnknownAtom, match=atom):
            cluster.offline_restore(save_backup("clear", [record]))


class TestExport:
    def test_all_users_without_loss(self, demo: DemoCluster, user: str, tmp_path: Path) -> None:
        demo.store(user, PAYLOADS)
        demo.cores[0].evaluate(f'iris_core:store_batch(<<"{user}">>, [<<"one">>, <<"two">>]).')
        with joined(demo) as cluster:
            exported = cluster.offline_export(tmp_path / "all.term")
            assert exported.rows == cluster.offline_summary().rows
            before = rows(demo, user)
            assert exported.format == "term"
            assert stat.S_IMODE(exported.file.stat().st_mode) == 0o600
            assert open_backup(exported.file).terms == exported.rows
            demo.cores[0].evaluate(f'iris_core:retrieve_offline(<<"{user}">>).')
            cluster.offline_restore(exported.file)
        assert rows(demo, user) == before

    def test_a_user_as_json_lines(self, demo: DemoCluster, user: str, tmp_path: Path) -> None:
        demo.store(user, [b"text", b"\xff\x00"])
        demo.cores[0].evaluate(f'iris_core:store_batch(<<"{user}">>, [<<"one">>, <<"two">>]).')
        with joined(demo) as cluster:
            exported = cluster.offline_export(tmp_path / "user.jsonl", user=user)
        found = [json.loads(line) for line in exported.file.read_text(encoding="ascii").splitlines()]
        assert (exported.rows, exported.messages) == (3, 4)
        assert {line["user"] for line in found} == {user}
        assert sorted((line["payload"], line["payload_base64"]) for line in found if line["payload"]) == [
            ("one", None),
            ("text", None),
            ("two", None),
        ]
        assert [line["payload_base64"] for line in found if line["payload"] is None] == ["/wA="]
        assert list(found[0]) == [
            *("user", "core", "bucket", "timestamp", "time", "part", "parts", "kind", "size", "digest", "payload"),
            "payload_base64",
        ]

    def test_an_existing_file_stays(self, demo: DemoCluster, tmp_path: Path) -> None:
        file = tmp_path / "precious.term"
        file.write_text("precious")
        with joined(demo) as cluster, pytest.raises(BackupError, match="exists"):
            cluster.offline_export(file)
        assert file.read_text() == "precious"

    def test_a_file_that_is_not_complete_is_removed(self, user: str, tmp_path: Path) -> None:
        with DemoCluster(edges=1, hidden_edges=0) as demo, joined(demo) as cluster:
            demo.store(user, PAYLOADS)
            cluster.offline_summary()
            demo.kill_node(demo.cores[0])
            for name in ("all.term", "all.jsonl"):
                with pytest.raises(iris_admin.errors.IrisAdminError):
                    cluster.offline_export(tmp_path / name)
                assert not (tmp_path / name).exists()


class TestUser:
    def report(self, demo: DemoCluster, user: str) -> UserReport:
        with joined(demo) as cluster:
            return cluster.user(user)

    def test_what_is_not_acknowledged(self, demo: DemoCluster, user: str, log_in: LogIn) -> None:
        edge = demo.edges[-1]
        client = log_in(edge, user, auto_ack=False)
        demo.store(user, PAYLOADS[:2])
        for payload in ("one", "three"):
            edge.evaluate(
                f'[{{_, P}}] = ets:lookup(local_presence_v2, <<"{user}">>), P ! {{deliver_msg, <<"{payload}">>}}.'
            )
        client.wait_for(2)
        found = self.report(demo, user)
        assert found.online is True
        (pending,) = found.pending
        assert (pending.node, pending.count, pending.bytes, pending.message_queue_len) == (edge.name, 2, 8, 0)
        assert pending.oldest_age_seconds is not None
        assert [connection.kind for connection in found.connections] == ["tcp"]
        (stored,) = found.stored
        assert (stored.rows, stored.messages) == (2, 2)
        assert "2 messages will leave the store" in found.next_login
        assert not found.danger

    def test_a_websocket_has_nothing_to_acknowledge(
        self, demo: DemoCluster, user: str, log_in_by_websocket: Callable[..., object]
    ) -> None:
        log_in_by_websocket(demo.edges[0], user)
        found = self.report(demo, user)
        assert [connection.kind for connection in found.connections] == ["websocket"]
        assert len(found.pending) == 0

    def test_a_huge_backlog_is_a_danger(self, demo: DemoCluster, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("iris_admin.operations.user.HUGE_BACKLOG", 5)
        demo.store(user, PAYLOADS[:5])
        found = self.report(demo, user)
        assert found.danger
        assert "lost" in found.next_login

    def test_buckets_that_the_user_does_not_have(self, demo_cluster: DemoCluster, user: str) -> None:
        demo_cluster.store(user, PAYLOADS[:2])
        demo_cluster.cores[0].evaluate(
            f'mnesia:dirty_write({{offline_msg, {{<<"{user}">>, 7}}, 1, <<"lost from sight">>}}).'
        )
        found = self.report(demo_cluster, user)
        assert found.unreachable_rows == 1
        assert [(key.bucket, key.records) for key in found.keys] == [(0, 2), (7, 1)]
        assert "those of 1 row in buckets that the user does not have" in found.next_login

    def test_what_is_no_binary(self, demo_cluster: DemoCluster, user: str) -> None:
        demo_cluster.cores[0].evaluate(f'mnesia:dirty_write({{offline_msg, {{<<"{user}">>, 0}}, 1, #{{}}}}).')
        found = self.report(demo_cluster, user)
        assert found.danger
        assert "crash the connection" in found.next_login
        assert found.stored[0].undeliverable == 1

    def test_a_user_whom_nobody_knows(self, demo: DemoCluster, user: str) -> None:
        with pytest.raises(NoSuchUser, match=user):
            self.report(demo, user)

    def test_without_a_core(self, user: str, log_in: LogIn) -> None:
        with DemoCluster(edges=1, hidden_edges=0) as demo, joined(demo, demo.edges[0].name) as cluster:
            log_in(demo.edges[0], user)
            demo.kill_node(demo.cores[0])
            found = cluster.user(user)
            assert found.online is True
            assert "cannot be told" in found.next_login
            assert [each.node for each in found.cannot_tell] == [demo.cores[0].name]

    def test_a_process_with_a_full_mailbox_is_left_alone(self, demo: DemoCluster, user: str, log_in: LogIn) -> None:
        edge = demo.edges[0]
        log_in(edge, user)
        edge.evaluate(
            f'[{{_, P}}] = ets:lookup(local_presence_v2, <<"{user}">>), ok = sys:suspend(P), '
            "lists:foreach(fun(N) -> P ! N end, lists:seq(1, 10000))."
        )
        try:
            (pending,) = self.report(demo, user).pending
            assert pending.count is None
            assert "mailbox" in str(pending.reason)
        finally:
            edge.evaluate(f'[{{_, P}}] = ets:lookup(local_presence_v2, <<"{user}">>), exit(P, kill).')
