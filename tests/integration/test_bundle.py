"""Bundles, differences between nodes, and triage, on the demo cluster."""

from __future__ import annotations

import asyncio
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from demo_cluster import DemoCluster

import iris_admin
from iris_admin import aio
from iris_admin.audit import record
from iris_admin.cluster import Cluster
from iris_admin.errors import BackupError, ConfigError
from tests.cli.support import invoke

PRIVATE = ("private words", "hunter2")


@pytest.fixture
def joined(demo_cluster: DemoCluster) -> Iterator[Cluster]:
    with iris_admin.connect_cluster(
        demo_cluster.seed, cookie_file=demo_cluster.cookie_file, epmd_port=demo_cluster.epmd_port
    ) as cluster:
        yield cluster


@pytest.fixture
def on_demo(demo_cluster: DemoCluster) -> Callable[..., Result]:
    return lambda *words: invoke(*words, environment=demo_cluster.environment)


@pytest.fixture
def something_private(demo_cluster: DemoCluster) -> Iterator[None]:
    edge = demo_cluster.edges[0]
    edge.evaluate(
        'logger:error("crash in ~p", [{deliver_msg, <<"private words">>}]), '
        'application:set_env(iris_edge, jwt_secret, <<"hunter2">>), ok = logger_std_h:filesync(default).'
    )
    yield
    edge.evaluate("application:unset_env(iris_edge, jwt_secret).")


class TestBundle:
    @pytest.mark.usefixtures("something_private")
    def test_everything_but_secrets(self, joined: Cluster, demo_cluster: DemoCluster, tmp_path: Path) -> None:
        made = joined.bundle(tmp_path / "night.zip")
        assert made.failed == ()
        assert (made.path.stat().st_mode & 0o777, made.bytes) == (0o600, made.path.stat().st_size)
        assert os.listdir(tmp_path) == ["night.zip"]
        with zipfile.ZipFile(made.path) as archive:
            files = {name: archive.read(name).decode() for name in archive.namelist()}
        for secret in (demo_cluster.cookie, *PRIVATE):
            assert not [name for name, text in files.items() if secret in text]
        assert "crash in {deliver_msg,<<…>>}" in files[f"nodes/{demo_cluster.edges[0].name}/logs.json"]
        manifest = json.loads(files["manifest.json"])
        assert list(manifest) == [
            "format",
            "iris_admin",
            "time",
            "seconds",
            "nodes",
            "payload",
            "verdict",
            "documents",
            "failed",
            "entries",
        ]
        assert {entry["file"] for entry in manifest["entries"]} == set(files) - {"manifest.json", "summary.html"}
        assert {tuple(entry) for entry in manifest["entries"]} == {
            ("file", "node", "command", "ok", "error", "bytes", "sha256")
        }
        assert set(manifest["nodes"]) == {node.name for node in demo_cluster.nodes}
        assert f"nodes/{demo_cluster.edges[0].name}/mnesia.json" not in files

    @pytest.mark.usefixtures("something_private")
    def test_payloads_on_demand(self, joined: Cluster, demo_cluster: DemoCluster, tmp_path: Path) -> None:
        made = joined.bundle(tmp_path / "night.zip", payload=True)
        with zipfile.ZipFile(made.path) as archive:
            assert b"private words" in archive.read(f"nodes/{demo_cluster.edges[0].name}/logs.json")

    def test_the_page_takes_no_text_for_markup(
        self, joined: Cluster, demo_cluster: DemoCluster, tmp_path: Path
    ) -> None:
        edge = demo_cluster.edges[0]
        edge.evaluate('ets:insert(local_presence_v2, {<<"<script>alert(1)</script>">>, spawn(fun() -> ok end)}).')
        try:
            made = joined.bundle(tmp_path / "night.zip")
        finally:
            edge.evaluate('ets:delete(local_presence_v2, <<"<script>alert(1)</script>">>).')
        with zipfile.ZipFile(made.path) as archive:
            page = archive.read("summary.html").decode()
        assert "<script" not in page
        assert "&lt;script&gt;" in page
        assert "http" not in page.replace('http-equiv="', "")

    def test_one_node(self, joined: Cluster, demo_cluster: DemoCluster, tmp_path: Path) -> None:
        edge = demo_cluster.edges[0].name
        made = joined.node(edge).bundle(tmp_path / "edge.zip")
        # Only a core can say what is stored.
        assert (made.nodes[0], made.failed) == (edge, ("cluster/offline_summary.json",))

    def test_a_file_that_is_there_is_left_alone(self, joined: Cluster, tmp_path: Path) -> None:
        path = tmp_path / "night.zip"
        path.write_text("mine")
        with pytest.raises(BackupError):
            joined.bundle(path)
        assert path.read_text() == "mine"

    def test_a_node_that_is_down_is_recorded(self, tmp_path: Path) -> None:
        with DemoCluster(cores=1, edges=2, hidden_edges=1) as own:
            own.kill_node(own.edges[0])
            options = {"cookie_file": own.cookie_file, "epmd_port": own.epmd_port}
            with iris_admin.connect_cluster(own.seed, **options) as cluster:
                made = cluster.bundle(tmp_path / "night.zip")
        assert made.failed == (f"nodes/{own.edges[0].name}/error.json",)

    def test_command(self, on_demo: Callable[..., Result], tmp_path: Path) -> None:
        result = on_demo("bundle", str(tmp_path / "night.zip"), "-o", "json")
        assert result.exit_code == 0, result.stderr
        assert "calls to 3 nodes, at most" in result.stderr
        assert list(json.loads(result.stdout)) == ["path", "bytes", "nodes", "documents", "failed", "seconds"]
        assert on_demo("bundle", str(tmp_path / "night.zip")).exit_code == 74

    def test_awaited(self, demo_cluster: DemoCluster, tmp_path: Path) -> None:
        async def make() -> None:
            options = {"cookie_file": demo_cluster.cookie_file, "epmd_port": demo_cluster.epmd_port}
            async with await aio.connect_cluster(demo_cluster.seed, **options) as joined:
                assert (await joined.bundle(tmp_path / "night.zip")).failed == ()
                one, other = (edge.name for edge in demo_cluster.edges)
                assert (await joined.diff(one, other)).a == one
                assert [step.number async for step in joined.triage("p2")] == [1, 2, 3, 4, 5]

        asyncio.run(make())


class TestDiff:
    def test_two_edges(self, joined: Cluster, demo_cluster: DemoCluster) -> None:
        one, other = demo_cluster.edges
        one.evaluate("application:set_env(iris_edge, ack_timeout_ms, 5000).")
        one.evaluate('application:set_env(iris_edge, api_password, "hunter2").')
        try:
            found = joined.diff(one.name, other.name)
        finally:
            one.evaluate("application:set_env(iris_edge, ack_timeout_ms, 10000).")
            one.evaluate("application:unset_env(iris_edge, api_password).")
        assert {(row.kind, row.name, row.a, row.b) for row in found.differences} == {
            ("setting", "iris_edge.ack_timeout_ms", "5000", "10000"),
            ("setting", "iris_edge.api_password", "[redacted]", None),
        }
        assert found.compared["module"] > 50

    def test_a_module_of_other_code(self, joined: Cluster, demo_cluster: DemoCluster) -> None:
        one, other = demo_cluster.edges
        for edge in (one, other):
            edge.evaluate("{module, _} = code:ensure_loaded(iris_proto).")
        one.evaluate(
            "{ok, {_, [{abstract_code, {_, Forms}}]}} = beam_lib:chunks(code:which(iris_proto), [abstract_code]), "
            '{ok, iris_proto, Binary} = compile:forms([{attribute, 1, file, {"other.erl", 1}} | Forms] ++ '
            "[{function, 999, other, 0, [{clause, 999, [], [], [{atom, 999, other}]}]}], [export_all]), "
            '{module, _} = code:load_binary(iris_proto, "iris_proto.erl", Binary).'
        )
        try:
            assert "iris_proto" in {row.name for row in joined.diff(one.name, other.name).differences}
        finally:
            one.evaluate("code:purge(iris_proto), code:load_file(iris_proto).")

    def test_a_core_and_an_edge(self, joined: Cluster, demo_cluster: DemoCluster) -> None:
        found = joined.diff(demo_cluster.seed, demo_cluster.edges[0].name)
        assert {("application", "iris_core"), ("application", "iris_edge")} <= {
            (row.kind, row.name) for row in found.differences
        }
        assert any("Mnesia does not run there" in note for note in found.notes)

    def test_command(self, on_demo: Callable[..., Result], demo_cluster: DemoCluster) -> None:
        one, other = (edge.name for edge in demo_cluster.edges)
        document = json.loads(on_demo("diff", one, other, "-o", "json").stdout)
        assert list(document) == ["a", "b", "differences", "compared", "notes"]
        assert list(document["compared"]) == ["release", "limit", "application", "setting", "table", "module"]


class TestTriage:
    @pytest.mark.parametrize("level", ["p0", "P1", "p2"])
    def test_command(self, on_demo: Callable[..., Result], level: str) -> None:
        result = on_demo("triage", level)
        assert result.exit_code == 0, result.stderr
        assert result.stdout.startswith(f"{level.upper()} 1. Check")
        assert "Primary On-Call: pager: #iris-oncall" in result.stdout
        assert ("call on-call SRE" in result.stdout) == (level == "p0")

    def test_fields(self, on_demo: Callable[..., Result]) -> None:
        document = json.loads(on_demo("triage", "p1", "-o", "json").stdout)
        assert list(document) == ["level", "verdict", "steps", "escalation"]
        assert list(document["steps"][0]) == ["level", "number", "title", "verdict", "findings", "lines", "commands"]
        assert list(document["escalation"]) == ["levels", "steps", "contacts"]

    def test_the_sites_own_escalation(self, on_demo: Callable[..., Result], tmp_path: Path) -> None:
        config = tmp_path / "config.toml"
        config.write_text(
            '[escalation]\ncontacts = { Night = "tel: 1" }\nsteps = [{ level = "P1", minutes = 5, who = "Night" }]\n'
        )
        output = on_demo("triage", "p1", "--config", str(config)).stdout
        assert "not recovered in 5 minutes: call Night" in output
        assert "Night: tel: 1" in output

    def test_a_level_without_steps(self, joined: Cluster) -> None:
        with pytest.raises(ConfigError):
            next(joined.triage("p3"))


class TestAudit:
    def test_command(self, on_demo: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("IRIS_ADMIN_AUDIT_FILE", str(tmp_path / "audit.jsonl"))
        assert "nothing was changed" in on_demo("audit").stdout
        for number in range(3):
            record("offline clear", "n@h", {"number": number}, "done")
        document = json.loads(on_demo("audit", "-n", "2", "-o", "json").stdout)
        assert list(document) == ["file", "entries", "damaged"]
        assert [entry["plan"]["number"] for entry in document["entries"]] == [1, 2]
        assert "offline clear" in on_demo("audit").stdout
