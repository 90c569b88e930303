"""Bytes that real nodes made, and what they mean here."""

from __future__ import annotations

import pytest

from iris_admin.proto.etf import decode, encode
from iris_admin.terms import (
    Atom,
    BitString,
    Export,
    Fun,
    ImproperList,
    LocalTerm,
    Map,
    NativeRecord,
    Pid,
    Port,
    Reference,
    Term,
)
from tests.support.erlang import ErlangNode

NODE = Atom("a@b")
PID = Pid(NODE, 38, 1, 3)

#: Erlang expression, its bytes on OTP 25, the value here.
FROM_A_NODE: list[tuple[str, str, Term]] = [
    ("ok", "836400026F6B", Atom("ok")),
    ("true", "8364000474727565", True),
    ("'\\x{e9}'", "83640001E9", Atom("é")),
    ("'\\x{394}'", "837702CE94", Atom("Δ")),
    ("list_to_atom(lists:duplicate(255, 16#394))", "837601FE" + "CE94" * 255, Atom("Δ" * 255)),
    ("''", "83640000", Atom("")),
    ("0", "836100", 0),
    ("255", "8361FF", 255),
    ("256", "836200000100", 256),
    ("-1", "8362FFFFFFFF", -1),
    ("-2147483648", "836280000000", -(2**31)),
    ("2147483648", "836E040000000080", 2**31),
    ("-2147483649", "836E040101000080", -(2**31) - 1),
    ("-(1 bsl 64)", "836E0901000000000000000001", -(2**64)),
    ("1 bsl 2040", "836F0000010000" + "00" * 255 + "01", 2**2040),
    ("1.5", "83463FF8000000000000", 1.5),
    ("-0.0", "83468000000000000000", -0.0),
    (
        "term_to_binary(1.5, [{minor_version, 0}])",
        "8363312E3530303030303030303030303030303030303030652B30300000000000",
        1.5,
    ),
    ("<<>>", "836D00000000", b""),
    ('<<"bob">>', "836D00000003626F62", b"bob"),
    ("<<5:3>>", "834D0000000103A0", BitString(b"\xa0", 3)),
    ("<<255,1:1>>", "834D0000000201FF80", BitString(b"\xff\x80", 1)),
    ("[]", "836A", []),
    ('"bob"', "836B0003626F62", [98, 111, 98]),
    ("[0,255]", "836B000200FF", [0, 255]),
    ("[1,2,300]", "836C0000000361016102620000012C6A", [1, 2, 300]),
    ("[a|b]", "836C000000016400016164000162", ImproperList((Atom("a"),), Atom("b"))),
    ("[1,2|3]", "836C00000002610161026103", ImproperList((1, 2), 3)),
    ("[[]]", "836C000000016A6A", [[]]),
    ("{}", "836800", ()),
    ("{a,1}", "836802640001616101", (Atom("a"), 1)),
    ("list_to_tuple(lists:duplicate(256, []))", "836900000100" + "6A" * 256, ([],) * 256),
    ("#{}", "837400000000", {}),
    ("#{a => 1}", "837400000001640001616101", {Atom("a"): 1}),
    (
        "#{1 => a, 1.0 => b}",
        "837400000002610164000161463FF000000000000064000162",
        Map([(1, Atom("a")), (1.0, Atom("b"))]),
    ),
    ("#{true => 1, 1 => 2}", "83740000000261016102640004747275656101", Map([(1, 2), (True, 1)])),
    ("#{[] => {}, #{} => []}", "83740000000274000000006A6A6800", Map([({}, []), ([], ())])),
    ("fun lists:map/2", "83716400056C697374736400036D61706102", Export(Atom("lists"), Atom("map"), 2)),
    (
        "lists:duplicate(40, ok)",  # term_to_binary(_, [compressed])
        "8350000000CE789CCB616060D0486160CACF1E06441600385432FF",
        [Atom("ok")] * 40,
    ),
]

_NODE_OLD = "640003614062"
_NODE_NEW = "7703614062"

#: Forms that today's nodes do not send: bytes, the value, the bytes that we send for it.
OLD_FORMS: list[tuple[str, str, Term, str]] = [
    ("SMALL_ATOM_EXT", "837302E962", Atom("éb"), "837703C3A962"),
    ("PID_EXT", f"8367{_NODE_OLD}000000260000000103", PID, f"8358{_NODE_NEW}000000260000000100000003"),
    ("PORT_EXT", f"8366{_NODE_OLD}0000000703", Port(NODE, 7, 3), f"8359{_NODE_NEW}0000000700000003"),
    (
        "NEW_PORT_EXT",
        f"8359{_NODE_OLD}1000000000000003",
        Port(NODE, 1 << 28, 3),
        f"8378{_NODE_NEW}000000001000000000000003",
    ),
    ("REFERENCE_EXT", f"8365{_NODE_OLD}0000000903", Reference(NODE, 3, (9,)), f"835A0001{_NODE_NEW}0000000300000009"),
    (
        "NEW_REFERENCE_EXT",
        f"83720002{_NODE_OLD}030000000900000008",
        Reference(NODE, 3, (9, 8)),
        f"835A0002{_NODE_NEW}000000030000000900000008",
    ),
    ("BIT_BINARY_EXT with 8 bits", "834D000000010841", b"A", "836D0000000141"),
    ("LIST_EXT in LIST_EXT's tail", "836C0000000161016C0000000161026A", [1, 2], "836B00020102"),
    ("STRING_EXT in LIST_EXT's tail", "836C0000000161016B000102", [1, 2], "836B00020102"),
    ("LIST_EXT without elements", "836C000000006105", 5, "836105"),
    ("LARGE_TUPLE_EXT, though small", "8369000000016105", (5,), "8368016105"),
]


@pytest.mark.parametrize(("expression", "data", "term"), FROM_A_NODE, ids=[row[0][:30] for row in FROM_A_NODE])
def test_bytes_of_a_node(expression: str, data: str, term: Term) -> None:
    decoded = decode(bytes.fromhex(data))
    assert (decoded, type(decoded)) == (term, type(term))
    assert repr(decoded) == repr(term)  # tells 0.0 from -0.0
    assert decode(encode(term)) == term


def test_the_bytes_are_those_of_a_node(erlang_node: ErlangNode) -> None:
    for expression, data, term in FROM_A_NODE:
        value = "1.5" if "minor_version" in expression else expression
        for encoded in (bytes.fromhex(data), encode(term)):
            same = erlang_node.evaluate(f"binary_to_term({_literal(encoded)}) =:= {value}")
            assert same == "true", (expression, encoded)


@pytest.mark.parametrize(("old", "term", "new"), [row[1:] for row in OLD_FORMS], ids=[row[0] for row in OLD_FORMS])
def test_old_forms_become_new_ones(old: str, term: Term, new: str, erlang_node: ErlangNode) -> None:
    assert decode(bytes.fromhex(old)) == term
    assert encode(term) == bytes.fromhex(new)
    same = erlang_node.evaluate(
        f"binary_to_term({_literal(bytes.fromhex(old))}) =:= binary_to_term({_literal(bytes.fromhex(new))})"
    )
    assert same == "true"


def _literal(data: bytes) -> str:
    return f"<<{','.join(map(str, data))}>>"


def test_funs() -> None:
    # fun(X) -> X + Y end with Y = 3, of module m on a@b
    rest = f"{'0F' * 16}00000002000000017701 6D 6102 6200ABCDEF 58{_NODE_NEW}000000260000000100000003 6103".replace(
        " ", ""
    )
    data = bytes.fromhex(f"8370{4 + 1 + len(rest) // 2:08X}01{rest}")
    fun = Fun(Atom("m"), 1, b"\x0f" * 16, 2, 2, 0xABCDEF, PID, (3,))
    assert decode(data) == fun
    assert encode(fun) == data


def test_funs_as_they_were_before_otp_23() -> None:
    data = bytes.fromhex(
        f"837500000001 58{_NODE_NEW}000000260000000100000003 77016D 6102 6200ABCDEF 6103".replace(" ", "")
    )
    fun = Fun(Atom("m"), None, None, 2, 2, 0xABCDEF, PID, (3,))
    assert decode(data) == fun
    assert encode(fun) == data


def test_records_of_otp_29() -> None:
    data = bytes.fromhex("8343 00000002 00 77016D 770172 770161 770474727565 6101 6A".replace(" ", ""))
    record = NativeRecord(Atom("m"), Atom("r"), (Atom("a"), Atom("true")), (1, []), 0)
    assert decode(data) == record
    assert encode(record) == data


def test_local_terms_are_kept_as_they_are() -> None:
    data = b"\x83y\x01\x02whatever"
    assert decode(data) == LocalTerm(b"\x01\x02whatever")
    assert encode(decode(data)) == data


def test_references_of_every_length() -> None:
    for count in range(1, 6):
        reference = Reference(NODE, 3, tuple(range(count)))
        assert decode(encode(reference)) == reference
