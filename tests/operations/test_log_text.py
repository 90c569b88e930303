"""Log text, cut into events; known noise, folded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_admin.operations.log_text import Event, Fold, complete, events, first_start, fold, has_headers

OLD = """=INFO REPORT==== 3-Nov-2026::09:04:30.382493 ===
    application: mnesia
    exited: stopped

=WARNING REPORT==== 23-Nov-2026::09:04:31.423728 ===
OS_MON (memsup) called by <0.193.0>, not started

=WARNING REPORT==== 23-Nov-2026::09:04:31.425894 ===
OS_MON (cpu_sup) called by <0.193.0>, not started

=ERROR REPORT==== 23-Nov-2026::09:04:32.000000 ===
** Generator failed
** in the second line
"""
NEW = """2026-11-23T09:04:31.423728+00:00 warning: OS_MON (memsup) called by <0.1.0>, unavailable
2026-11-23T09:04:32.000000+00:00 error: crasher: initial call: a:b/1
    in the second line
2026-11-23 09:04:33Z notice: alarm_handler: {set,{system_memory_high_watermark,[]}}
"""


def noise(text: str) -> bool:
    (event,) = events(text)
    return event.noise is not None


class TestEvents:
    def test_older_format(self) -> None:
        found = list(events(OLD))
        assert [(event.time, event.level, event.noise) for event in found] == [
            ("2026-11-03T09:04:30.382493", "info", None),
            ("2026-11-23T09:04:31.423728", "warning", ("OS_MON (memsup)", "not started")),
            ("2026-11-23T09:04:31.425894", "warning", ("OS_MON (cpu_sup)", "not started")),
            ("2026-11-23T09:04:32.000000", "error", None),
        ]
        assert found[3].text.endswith("** Generator failed\n** in the second line")

    def test_newer_format(self) -> None:
        found = list(events(NEW))
        assert [(event.time, event.level) for event in found] == [
            ("2026-11-23T09:04:31.423728+00:00", "warning"),
            ("2026-11-23T09:04:32.000000+00:00", "error"),
            ("2026-11-23T09:04:33Z", "notice"),
        ]
        assert [event.noise is not None for event in found] == [True, False, True]
        assert found[1].text.count("\n") == 1

    def test_plain_lines_are_events_of_their_own(self) -> None:
        assert [event.text for event in events("Listener started\n  more of it\n\nReady\n")] == [
            "Listener started\n  more of it",
            "Ready",
        ]

    def test_what_is_printed_behind_noise_is_no_part_of_it(self) -> None:
        head, *rest = OLD.splitlines()[4:6]
        text = "\n".join(
            [head, *rest, "Listener started on port 8085", "=INFO REPORT==== 1-Jan-2026::01:02:03 ===", "x"]
        )
        assert [(event.level, event.noise is None) for event in events(text)] == [
            ("warning", False),
            (None, True),
            ("info", True),
        ]

    def test_nothing(self) -> None:
        assert list(events("\n \n\n")) == []

    @given(st.text())
    def test_no_line_with_something_in_it_is_lost(self, text: str) -> None:
        found = "\n".join(event.text for event in events(text))
        assert [line for line in found.split("\n") if line.strip()] == [
            line for line in text.split("\n") if line.strip()
        ]


class TestNoise:
    @pytest.mark.parametrize(
        "text",
        [
            "=WARNING REPORT==== 23-Nov-2026::09:04:31 ===\nOS_MON (cpu_sup) called by <0.1.2>, not started",
            "=INFO REPORT==== 23-Nov-2026::09:04:31 ===\n    alarm_handler: {set,{system_memory_high_watermark,[]}}",
            "=INFO REPORT==== 23-Nov-2026::09:04:31 ===\n    alarm_handler: {clear,system_memory_high_watermark}",
            "=INFO REPORT==== 23-Nov-2026::09:04:31 ===\n"
            "    alarm_handler: {set,{process_memory_high_watermark,<0.5.0>}}",
        ],
    )
    def test_is_known(self, text: str) -> None:
        assert noise(text)

    @pytest.mark.parametrize(
        "text",
        [
            # A full disc is a reason to act.
            '=INFO REPORT==== 23-Nov-2026::09:04:31 ===\n    alarm_handler: {set,{{disk_almost_full,"/"},[]}}',
            "2026-11-23T09:04:31Z error: OS_MON (cpu_sup) called by <0.1.2>, not started\n    and more",
            "alarm_handler: {set,{my_alarm,system_memory_high_watermark}}",
        ],
    )
    def test_is_not(self, text: str) -> None:
        assert not noise(text)

    def test_fold(self) -> None:
        first, folded, last = fold(events(OLD))
        assert isinstance(first, Event)
        assert isinstance(folded, Fold)
        assert isinstance(last, Event)
        assert folded.count == 2
        assert folded.text == (
            "2 known warnings folded: OS_MON (cpu_sup), OS_MON (memsup) not started, "
            "2026-11-23T09:04:31.423728 to 2026-11-23T09:04:31.425894"
        )

    def test_fold_of_one(self) -> None:
        (folded,) = fold(events(OLD.partition("\n\n")[2].partition("\n\n")[0]))
        assert isinstance(folded, Fold)
        assert folded.text == "1 known warning folded: OS_MON (memsup) not started"


class TestCutting:
    @given(st.sampled_from([OLD, NEW, "one\ntwo\n  of two\nthree\n"]), st.data())
    def test_any_piece_can_be_cut_where_an_event_begins(self, text: str, data: st.DataObject) -> None:
        whole = text.encode()
        start = data.draw(st.integers(1, len(whole) - 1))
        cut = first_start(whole[start:], headers=has_headers(whole))
        if cut is not None:
            before, behind = whole[: start + cut].decode(), whole[start + cut :].decode()
            assert [*events(before), *events(behind)] == list(events(text))

    def test_piece_within_one_event(self) -> None:
        assert first_start(b"    in the middle\n    of an event\n", headers=False) is None
        assert first_start(b"in the middle\nof an event\n", headers=True) is None

    @pytest.mark.parametrize(
        ("data", "rest"),
        [
            (b"one\ntwo", b"two"),
            (b"one\ntwo\n", b""),
            (b"two", b"two"),
            (b"", b""),
            (b"one\n=INFO REPORT==== 1-Jan-2026::01:02:03 ===\n", b"=INFO REPORT==== 1-Jan-2026::01:02:03 ===\n"),
            (b"=INFO REPORT==== 1-Jan-2026::01:02:03 ===\nx\ny", b"y"),
        ],
    )
    def test_what_is_complete(self, data: bytes, rest: bytes) -> None:
        assert data[complete(data) :] == rest
