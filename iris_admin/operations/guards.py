"""What must hold before anything in the store is changed: no core out of reach, no partition, a user that exists."""

from __future__ import annotations

from iris_admin.errors import NoSuchUser, NotApplicable, RemoteError, UnsafeOperation
from iris_admin.operations.roles import Members
from iris_admin.operations.steps import AllOf, Call, Operation
from iris_admin.terms import Atom


def reachable_cores(found: Members, core: str | None = None) -> Operation[tuple[str, list[str]]]:
    """A core to work with, and all that run one Mnesia with it.

    :param core: the core to work with; by default the first.
    :raises NotApplicable: there is none.
    :raises UnsafeOperation: a running core cannot be reached: rows may be under way there.
    """
    if not found.cores:
        roles = ", ".join(f"{node} ({role})" for node, role in found.roles.items())
        raise NotApplicable(
            f"only Iris cores store messages, and none was reached: {roles}",
            hint="Name a core, or a node that is connected to one, with -n.",
        )
    core = core or found.cores[0]
    running = yield Call("mnesia", "system_info", (Atom("running_db_nodes"),), node=core, idempotent=True)
    missing = sorted({str(node) for node in running}.difference(found.cores))
    if missing:
        raise UnsafeOperation(
            f"{', '.join(missing)} runs Mnesia too, but cannot be reached from here",
            node=missing[0],
            hint="Rows may be under way there, so what the store holds cannot be known. Reach it, then try again.",
        )
    return core, [str(node) for node in running]


def refuse_when_partitioned(core: str) -> Operation[None]:
    """See that a core has not lost sight of others, as far as its partition guard can tell.

    :raises UnsafeOperation: it has.
    """
    try:
        safe = yield Call("iris_partition_guard", "is_safe_for_writes", node=core, idempotent=True)
    except RemoteError as error:
        if error.is_undef:
            return
        raise
    if safe != "ok":
        raise UnsafeOperation(
            f"{core} has detected a partition of the cluster; what is deleted now may come back, or be lost",
            node=core,
            hint="Heal the partition first.",
        )


def refuse_unknown_user(user: bytes, core: str) -> Operation[None]:
    """See that a user for whom nothing is stored is one whom the core knows.

    :raises NoSuchUser: it does not.
    """
    tables = ("user_meta", "user_status")
    outcomes = yield AllOf(
        tuple(Call("mnesia", "dirty_read", (Atom(table), user), node=core, idempotent=True) for table in tables)
    )
    if all(outcome == [] for outcome in outcomes):
        raise NoSuchUser(
            f"nothing is known of the user {user.decode('utf-8', 'backslashreplace')!r}: "
            "no stored message, no connection, no status",
            node=core,
            hint="Is the id misspelt? Upper and lower case differ.",
        )
