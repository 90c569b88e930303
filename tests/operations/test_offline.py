"""What is stored for a user, by made-up answers: every kind of row, pages, limits, and nodes that cannot say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_admin.errors import EncodeError, NodeDown, NotApplicable, RemoteError, UnsafeOperation
from iris_admin.operations import offline
from iris_admin.operations.offline import (
    MAX_RECORDS,
    Offline,
    describe,
    iso_time,
    offline_show,
    payloads_of,
    pick_core,
    read_user_records,
)
from iris_admin.operations.steps import Call
from iris_admin.proto.etf import encode
from iris_admin.terms import Atom, ImproperList, Term
from tests.operations.conftest import Run
from tests.operations.test_figures import CORE, EDGE

OFFLINE_MSG = Atom("offline_msg")
UNDEFINED = Atom("undefined")
NODES = ("core1@h", "core2@h", "edge1@h")


def record(payload: Term, bucket: int | None = 0, timestamp: Term = 1_700_000_000_000, user: bytes = b"bob") -> Term:
    return OFFLINE_MSG, user if bucket is None else (user, bucket), timestamp, payload


def aborted(reason: str) -> RemoteError:
    return RemoteError("aborted", kind="exit", reason=(Atom("aborted"), (Atom(reason), [])))


UNDEF = RemoteError(
    "no such function",
    reason=Atom("undef"),
    stacktrace=[(Atom("iris_durable_batcher"), Atom("get_stats"), [], [])],
    mfa=("iris_durable_batcher", "get_stats", 0),
)


class Cluster:
    """Answers of a cluster: two cores and an edge by default.

    :ivar records: what the stores hold, by the core that is asked, in the order in which a core gives it.
    """

    def __init__(self, *records: Term, **options: Any) -> None:
        self.records: dict[str, Sequence[Term]] = options.get("stores", {"core1@h": records, "core2@h": records})
        self.copies: dict[str, Any] = options.get("copies", {core: [*self.records] for core in self.records})
        self.stats: Any = options.get("stats", {Atom("total_pending"): 0})
        self.bucket_count: Term = options.get("bucket_count", UNDEFINED)
        self.dead: tuple[str, ...] = options.get("dead", ())
        self.pages: list[dict[str, Term]] = []

    def __call__(self, call: Call) -> Any:
        node = str(call.node)
        if node in self.dead:
            return NodeDown(f"{node} is gone")
        if call.function == "which_applications":
            return EDGE if node.startswith("edge") else CORE
        if call.function == "table_info":
            copies = self.copies[node]
            if isinstance(copies, Exception):
                return copies
            if call.args[1] == "where_to_write":
                return [Atom(copy) for copy in copies]
            return Atom(copies[0] if copies else "nowhere")
        if call.function == "get_stats":
            return self.stats
        assert (call.module, call.function) == ("remote", "offline_records")
        return self.page(self.records[node], call.args[0])

    def page(self, records: Sequence[Term], wanted: dict[str, Term]) -> Any:
        self.pages.append(wanted)
        first = wanted["Last"] == "none"
        found = []
        for key in dict.fromkeys(each[1] for each in records) if first else ():
            payloads = [payload for each in records if each[1] == key for payload in payloads_of(each)]
            size = sum(len(payload) if isinstance(payload, bytes) else len(encode(payload)) for payload in payloads)
            found.append((key, (sum(each[1] == key for each in records), len(payloads), size)))
        rest = list(records) if first else list(records)[list(records).index(wanted["Last"]) + 1 :]
        page: list[Term] = []
        bytes_left = wanted["MaxBytes"]
        while rest and len(page) < wanted["MaxRows"] and bytes_left > 0:
            page.append(rest.pop(0))
            bytes_left -= len(encode(page[-1]))
        return self.bucket_count, UNDEFINED, found, page, len(rest), bytes_left


def show(cluster: Callable[[Call], Any], **options: Any) -> Offline:
    return Run(cluster)(offline_show("bob", NODES, **options))


class TestRows:
    def test_message(self) -> None:
        (message,) = show(Cluster(record(b"hello", 3))).messages
        assert message.to_dict() == {
            "core": "core1@h",
            "bucket": 3,
            "timestamp": 1_700_000_000_000,
            "time": "2023-11-14T22:13:20.000Z",
            "part": 1,
            "parts": 1,
            "kind": "binary",
            "size": 5,
            "digest": sha256(b"hello").hexdigest()[:16],
            "payload": None,
        }

    def test_payload_only_if_asked_for(self) -> None:
        secret = b"between you and me"
        found = show(Cluster(record(secret)))
        assert "between" not in f"{found!r}{found.messages!r}{list(found.messages)}{found.to_dict()}"
        (message,) = show(Cluster(record(secret)), payload=True).messages
        assert message.payload == secret

    def test_batch(self) -> None:
        found = show(Cluster(record([b"one", [b"two", [b"three"]]])))
        assert [(each.part, each.parts, each.size) for each in found.messages] == [(1, 3, 3), (2, 3, 3), (3, 3, 5)]
        assert (found.total_records, found.total_messages, found.total_bytes) == (1, 3, 11)

    def test_empty_batch_is_a_record_without_a_message(self) -> None:
        found = show(Cluster(record([])))
        assert (found.total_records, found.total_messages, len(found.messages)) == (1, 0, 0)

    @pytest.mark.parametrize("payload", [{Atom("a"): 1}, Atom("x"), 7, ImproperList((b"a",), b"b"), (b"a",)])
    def test_what_cannot_be_delivered(self, payload: Term) -> None:
        (message,) = show(Cluster(record(payload)), payload=True).messages
        assert (message.kind, message.size, message.payload) == ("term", len(encode(payload)), payload)

    @pytest.mark.parametrize(
        ("timestamp", "time"),
        [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (10**18, None),
            (-(10**18), None),
            (2**80, None),
            (Atom("now"), None),
            (1.5, None),
        ],
    )
    def test_odd_times(self, timestamp: Term, time: str | None) -> None:
        (message,) = show(Cluster(record(b"x", timestamp=timestamp))).messages
        assert message.time == time

    @given(st.integers())
    def test_every_number_of_milliseconds_is_a_time_or_none(self, milliseconds: int) -> None:
        assert iso_time(milliseconds) is None or str(iso_time(milliseconds)).endswith("Z")

    def test_describe_is_for_others_too(self) -> None:
        assert [each.size for each in describe(record([b"a", b"bb"]), "core1@h")] == [1, 2]


class TestScheme:
    @pytest.mark.parametrize(
        ("buckets", "expected"),
        [([], None), ([0, 13], "bucketed"), ([None], "bare"), ([None, 0], "both")],
    )
    def test_is_found_by_looking(self, buckets: list[int | None], expected: str | None) -> None:
        found = show(Cluster(*(record(b"x", bucket) for bucket in buckets)))
        assert found.scheme == expected
        assert [each.bucket for each in found.keys] == buckets

    def test_buckets_are_read_beyond_the_user_s_own(self) -> None:
        cluster = Cluster(bucket_count=4)
        found = show(cluster)
        assert found.bucket_count == 4
        assert cluster.pages[0]["AtLeast"] == 16

    def test_a_number_of_buckets_that_is_not_believed(self) -> None:
        found = show(Cluster(bucket_count=10**9))
        assert any("1000000000 buckets" in note for note in found.notes)


class TestLimits:
    RECORDS = tuple(record(b"%03d" % number, timestamp=number) for number in range(25))

    @pytest.fixture(autouse=True)
    def small_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(offline, "PAGE_RECORDS", 10)

    def test_all_pages_in_order(self) -> None:
        run = Run(Cluster(*self.RECORDS))
        records = run(read_user_records(b"bob", "core1@h"))
        assert tuple(records) == self.RECORDS
        assert not records.cut
        assert run.progress == ["core1@h: read 10 of 25 stored records", "core1@h: read 20 of 25 stored records"]

    def test_show_is_cut_and_says_so(self) -> None:
        found = show(Cluster(*self.RECORDS), limit=12)
        assert [each.timestamp for each in found.messages] == list(range(12))
        assert found.cut
        assert found.total_messages == 25

    def test_show_of_exactly_the_limit_is_not_cut(self) -> None:
        assert not show(Cluster(*self.RECORDS), limit=25).cut

    @pytest.mark.parametrize("limit", [0, -1])
    def test_totals_alone(self, limit: int) -> None:
        found = show(Cluster(*self.RECORDS), limit=limit)
        assert (len(found.messages), found.total_messages, found.cut) == (0, 25, True)

    def test_records_are_cut_where_a_limit_is_given(self) -> None:
        records = Run(Cluster(*self.RECORDS))(read_user_records(b"bob", "core1@h", max_records=11))
        assert (len(records), records.cut) == (11, True)
        assert records[-1] == self.RECORDS[10]
        assert records[:2] == self.RECORDS[:2]
        assert repr(records) == "<UserRecords: 11 from core1@h, cut>"

    def test_bytes_are_bounded_too(self) -> None:
        each = len(encode(self.RECORDS[0]))
        records = Run(Cluster(*self.RECORDS))(
            read_user_records(b"bob", "core1@h", max_records=MAX_RECORDS, max_bytes=15 * each)
        )
        assert (len(records), records.cut) == (15, True)

    def test_whole_or_not_at_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(offline, "MAX_RECORDS", 24)
        cluster = Cluster(*self.RECORDS)
        with pytest.raises(UnsafeOperation, match="holds 25 records"):
            Run(cluster)(read_user_records(b"bob", "core1@h"))
        assert len(cluster.pages) == 1

    def test_whole_or_not_at_all_by_bytes(self) -> None:
        with pytest.raises(UnsafeOperation, match="with 75 bytes"):
            Run(Cluster(*self.RECORDS))(read_user_records(b"bob", "core1@h", max_bytes=74))
        # The payloads alone would fit, the records do not.
        with pytest.raises(UnsafeOperation, match="more than is read at once"):
            Run(Cluster(*self.RECORDS))(read_user_records(b"bob", "core1@h", max_bytes=76))

    def test_a_record_of_any_size_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(offline, "PAGE_BYTES", 10)
        records = (record(b"x" * 1000), record(b"y" * 1000))
        assert tuple(Run(Cluster(*records))(read_user_records(b"bob", "core1@h"))) == records

    def test_process_that_grew_too_large(self) -> None:
        killed = RemoteError("killed", kind="killed", reason=Atom("killed"))
        with pytest.raises(UnsafeOperation, match="without harm"):
            Run(lambda call: killed)(read_user_records(b"bob", "core1@h"))


class TestWaiting:
    def test_rows_in_the_log(self) -> None:
        run = Run(Cluster(stats={Atom("total_pending"): 7}))
        assert [(each.core, each.rows) for each in run(offline_show("bob", NODES)).waiting] == [
            ("core1@h", 7),
            ("core2@h", 7),
        ]
        # In the other order a row could pass from the log to the table unseen.
        assert run.names.index("iris_durable_batcher:get_stats") < run.names.index("remote:offline_records")

    @pytest.mark.parametrize("stats", [UNDEF, NodeDown("gone"), {}, Atom("what"), {Atom("total_pending"): Atom("x")}])
    def test_cannot_tell(self, stats: Any) -> None:
        waiting = show(Cluster(stats=stats)).waiting[0]
        assert waiting.rows is None
        assert waiting.reason


class TestStores:
    def test_one_store_is_read_once(self) -> None:
        cluster = Cluster(record(b"x"))
        found = show(cluster)
        assert (len(cluster.pages), found.total_messages, found.notes) == (1, 1, ())

    def test_cores_that_share_nothing_are_all_read(self) -> None:
        found = show(
            Cluster(
                stores={"core1@h": [record(b"x", timestamp=2)], "core2@h": [record(b"y", timestamp=1)]},
                copies={"core1@h": ["core1@h"], "core2@h": ["core2@h"]},
            )
        )
        assert [each.core for each in found.messages] == ["core2@h", "core1@h"]
        assert found.total_messages == 2
        assert "do not share" in found.notes[0]

    def test_a_core_with_a_copy_is_preferred(self) -> None:
        cluster = Cluster(copies={"core1@h": ["core2@h"], "core2@h": ["core2@h"]})
        assert Run(cluster)(pick_core(NODES)) == "core2@h"

    def test_unreachable_nodes_are_named(self) -> None:
        found = show(Cluster(record(b"x"), dead=("core1@h",)))
        assert found.notes == ("core1@h could not be asked: core1@h is gone",)
        assert found.messages[0].core == "core2@h"

    @pytest.mark.parametrize(
        ("copies", "reason"),
        [
            (aborted("no_exists"), "it has no such table"),
            (aborted("node_not_running"), "Mnesia does not run there"),
            (RemoteError("crashed"), "crashed"),
            ([], "no copy of the table is loaded"),
        ],
    )
    def test_no_store_at_all(self, copies: Any, reason: str) -> None:
        with pytest.raises(NotApplicable, match=f"core1@h cannot read offline_msg: {reason}"):
            show(Cluster(copies={"core1@h": copies, "core2@h": copies}))

    def test_only_an_edge(self) -> None:
        with pytest.raises(NotApplicable, match="edge1@h is 'edge'"):
            Run(Cluster())(offline_show("bob", ("edge1@h",)))

    def test_table_that_goes_away_while_it_is_read(self) -> None:
        with pytest.raises(NotApplicable, match="it has no such table"):
            Run(lambda call: aborted("no_exists"))(read_user_records(b"bob", "core1@h"))

    def test_other_errors_stay_what_they_are(self) -> None:
        with pytest.raises(RemoteError, match="badarg"):
            Run(lambda call: RemoteError("badarg", reason=Atom("badarg")))(read_user_records(b"bob", "core1@h"))


def test_nothing_is_sent_for_an_empty_user() -> None:
    run = Run(Cluster())
    with pytest.raises(EncodeError):
        run(offline_show("", NODES))
    assert run.calls == []
