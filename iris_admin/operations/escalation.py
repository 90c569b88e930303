"""Whom to call when: the tables at the end of the incident runbook, or those of the operator's own site."""

from __future__ import annotations

from iris_admin.config import EscalationConfig
from iris_admin.operations.results import Result, Table
from iris_admin.records import record

_MEANINGS = {
    "P0": "Service down",
    "P1": "Major degradation",
    "P2": "Partial impact",
    "P3": "Minor issue",
}
_RESPONSE = {"P0": "Immediate", "P1": "15 min", "P2": "1 hour", "P3": "Next business day"}
_STEPS: tuple[tuple[str, float, str], ...] = (("P0", 15, "on-call SRE"), ("P0", 30, "service owner"))
_CONTACTS = {
    "Primary On-Call": "pager: #iris-oncall",
    "Secondary": "slack: #iris-ops",
    "Escalation": "email: iris-team@",
}


@record
class Level(Result):
    """A level of the incident runbook.

    :param level: ``P0`` to ``P3``.
    :param meaning: what it stands for.
    :param response: how soon somebody is to look at it.
    """

    level: str
    meaning: str
    response: str


@record
class EscalationStep(Result):
    """Whom to call when an incident lasts.

    :param level: of the incident.
    :param minutes: so long without recovery.
    :param who: is called then.
    """

    level: str
    minutes: float
    who: str


@record
class Contact(Result):
    """How to reach somebody.

    :param role: whom.
    :param contact: how.
    """

    role: str
    contact: str


@record
class Escalation(Result):
    """Whom to call when.

    :param levels: all levels.
    :param steps: for the levels that were asked for, in order of time.
    :param contacts: how to reach whom.
    """

    levels: Table[Level]
    steps: Table[EscalationStep]
    contacts: Table[Contact]


def escalation(config: EscalationConfig | None = None, level: str | None = None) -> Escalation:
    """Whom to call when.

    :param config: what the configuration file says; the runbook's own tables stand in for what it does not.
    :param level: only the steps of this level.
    """
    given = config or EscalationConfig()
    response = {**_RESPONSE, **(given.response or {})}
    steps = _STEPS if given.steps is None else given.steps
    return Escalation(
        levels=Table(Level, (Level(each, meaning, response[each]) for each, meaning in _MEANINGS.items())),
        steps=Table(
            EscalationStep,
            (EscalationStep(*step) for step in sorted(steps, key=lambda step: step[:2]) if level in (None, step[0])),
        ),
        contacts=Table(Contact, (Contact(*pair) for pair in (given.contacts or _CONTACTS).items())),
    )
