"""Does the steps of an operation that concern the operator's machine; each with what it needs, when it is needed."""

from __future__ import annotations

from typing import Any

from iris_admin.operations.local_steps import (
    ChatExchange,
    ChatLogIn,
    ChatLogOut,
    Knock,
    LocalStep,
    PrepareAudit,
    RecordChange,
    RunCommand,
    SaveBackup,
)


def perform_locally(step: LocalStep) -> Any:
    """Do one step; see :mod:`iris_admin.operations.local_steps` for what each gives."""
    match step:
        case SaveBackup(label, terms):
            from iris_admin.backup import save_backup

            return save_backup(label, terms)
        case PrepareAudit(None):
            from iris_admin.audit import prepare_audit

            prepare_audit()
        case PrepareAudit(str() as command):
            from iris_admin.audit import begin

            return begin(command, step.node, step.plan)
        case RecordChange():
            from iris_admin.audit import Begun, record

            begun = step.begun if isinstance(step.begun, Begun) else None
            record(step.command, step.node, step.plan, step.outcome, step.backup, begun)
        case RunCommand(arguments, timeout):
            from iris_admin.site_command import run_command

            return run_command(arguments, timeout)
        case Knock(doors, timeout):
            from iris_admin.transport.knock import knock

            return knock(doors, timeout)
        case ChatLogIn() | ChatExchange() | ChatLogOut():
            from iris_admin.transport.chat import perform_chat

            return perform_chat(step)
    return None
