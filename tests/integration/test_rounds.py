"""Hundreds of connections, a part of them with a fault of the wire: no thread, socket or file is left behind."""

from __future__ import annotations

from tests.rounds import FAULT_EVERY, TIMEOUT, play
from tests.support.erlang import NodeFactory
from tests.support.failures import SLACK
from tests.support.faults import NET_TICKTIME, NODE_OPTIONS

ROUNDS = 150


def test_nothing_is_left(fresh_node: NodeFactory) -> None:
    played = play(fresh_node(net_ticktime=NET_TICKTIME, flags=NODE_OPTIONS), ROUNDS, seed=7)
    assert played.untyped == []
    assert played.outcomes.total() == ROUNDS
    assert played.outcomes["ok"] >= ROUNDS - ROUNDS // FAULT_EVERY
    assert len(played.outcomes) > 3  # the faults do happen
    assert not played.after.has_more_than(played.before), (played.before, played.after)
    assert played.longest < 3 * TIMEOUT + SLACK
