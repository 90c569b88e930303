"""Are the nodes connected that must be? Those that answer us but not one another are parted."""

from __future__ import annotations

from itertools import combinations

from iris_admin.operations.checks.finding import FAIL, P0, P1, Finding, cannot_tell, ok
from iris_admin.operations.checks.subject import Subject
from iris_admin.operations.steps import Operation

NAME = "links"


def check(subject: Subject) -> Operation[list[Finding]]:
    """A finding for each pair of nodes that is parted, also where only Mnesia takes the other for gone."""
    yield from ()
    findings = []
    accounts = subject.accounts
    pairs = 0
    for one, other in combinations(subject.cores, 2):
        pairs += 1
        connected = other in accounts[one].connected and one in accounts[other].connected
        shared = other in accounts[one].schema or one in accounts[other].schema
        both_run = accounts[one].mnesia == accounts[other].mnesia == "yes"
        apart = shared and both_run and (other not in accounts[one].running or one not in accounts[other].running)
        if connected and not apart:
            continue
        evidence = {
            "nodes": [one, other],
            "connected": connected,
            "mnesia_running": {core: sorted(accounts[core].running) for core in (one, other)},
        }
        if not connected:
            summary = f"partition: {one} and {other} both answer us, but are not connected to each other"
            command = f"iris-admin -n {one} rpc net_adm ping \"'{other}'\""
        else:
            summary = (
                f"partition: {one} and {other} are connected again, but Mnesia has not joined them: each goes on with "
                "tables of its own until Mnesia is restarted on the one whose changes may be lost"
            )
            command = f"iris-admin -n {one} mnesia status"
        findings.append(Finding(NAME, FAIL, P0, one, summary, evidence, command))
    for edge in subject.edges:
        wanted = sorted((accounts[edge].cores & set(subject.cores)) - {edge}) or subject.cores
        missing = [core for core in wanted if core not in accounts[edge].connected and core != edge]
        pairs += len(wanted)
        if not missing:
            continue
        alone = len(missing) == len(wanted)
        if alone and not accounts[edge].cores and accounts[edge].connected.intersection(subject.cores):
            continue
        cut_off = "no core at all: its users get no stored messages, and what they send may be lost"
        findings.append(
            Finding(
                NAME,
                FAIL,
                P1,
                edge,
                f"partition: it is connected to {cut_off}" if alone else f"it is not connected to {', '.join(missing)}",
                {"configured": sorted(accounts[edge].cores), "not_connected": missing},
                f"iris-admin -n {edge} rpc net_adm ping \"'{missing[0]}'\"",
            )
        )
    if not findings and not subject.cores:
        findings.append(cannot_tell(NAME, None, "no core answers that others could be connected to"))
    elif not findings:
        findings.append(ok(NAME, None, "all nodes that must be connected are", links=pairs))
    return findings
