"""Distribution flags: what a node can do, told in the handshake (``dist.hrl`` in OTP's kernel application)."""

from __future__ import annotations


class DistributionFlags:
    """The capability bits, by the names that OTP gives them (without ``DFLAG_``)."""

    # Plain numbers: an IntFlag takes longer to define than the handshake lasts.

    PUBLISHED = 0x1
    ATOM_CACHE = 0x2
    EXTENDED_REFERENCES = 0x4
    DIST_MONITOR = 0x8
    FUN_TAGS = 0x10
    DIST_MONITOR_NAME = 0x20
    HIDDEN_ATOM_CACHE = 0x40
    NEW_FUN_TAGS = 0x80
    EXTENDED_PIDS_PORTS = 0x100
    EXPORT_PTR_TAG = 0x200
    BIT_BINARIES = 0x400
    NEW_FLOATS = 0x800
    UNICODE_IO = 0x1000
    DIST_HDR_ATOM_CACHE = 0x2000
    SMALL_ATOM_TAGS = 0x4000
    UTF8_ATOMS = 0x10000
    MAP_TAG = 0x20000
    BIG_CREATION = 0x40000
    SEND_SENDER = 0x80000
    BIG_SEQTRACE_LABELS = 0x100000
    EXIT_PAYLOAD = 0x400000
    FRAGMENTS = 0x800000
    HANDSHAKE_23 = 0x1000000
    UNLINK_ID = 0x2000000
    # 1 << 26; editions of the protocol guide that say 1 << 36 are wrong.
    MANDATORY_25_DIGEST = 0x4000000
    SPAWN = 1 << 32
    NAME_ME = 1 << 33
    V4_NC = 1 << 34
    ALIAS = 1 << 35
    ALTACT_SIG = 1 << 37
    NATIVE_RECORDS = 1 << 38


_F = DistributionFlags

#: What we announce. PUBLISHED is missing, which makes us a hidden node; the atom caches are missing, because
#: they save an administrator's few calls nothing; ALTACT_SIG is missing, so its signals are never sent to us.
OUR_FLAGS = (
    _F.EXTENDED_REFERENCES
    | _F.DIST_MONITOR
    | _F.FUN_TAGS
    | _F.DIST_MONITOR_NAME
    | _F.NEW_FUN_TAGS
    | _F.EXTENDED_PIDS_PORTS
    | _F.EXPORT_PTR_TAG
    | _F.BIT_BINARIES
    | _F.NEW_FLOATS
    | _F.UNICODE_IO
    | _F.SMALL_ATOM_TAGS
    | _F.UTF8_ATOMS
    | _F.MAP_TAG
    | _F.BIG_CREATION
    | _F.SEND_SENDER
    | _F.BIG_SEQTRACE_LABELS
    | _F.EXIT_PAYLOAD
    | _F.FRAGMENTS
    | _F.HANDSHAKE_23
    | _F.UNLINK_ID
    | _F.MANDATORY_25_DIGEST
    | _F.SPAWN
    | _F.V4_NC
    | _F.ALIAS
    | _F.NATIVE_RECORDS
)

#: Without these on the other side we cannot work: they came with OTP 23 to 25.
NEEDED_FROM_PEER = (
    _F.BIG_CREATION | _F.EXIT_PAYLOAD | _F.FRAGMENTS | _F.HANDSHAKE_23 | _F.SPAWN | _F.UNLINK_ID | _F.V4_NC
)


def flag_names(flags: int) -> list[str]:
    """The names of those that are set, the lowest bit first."""
    return [name for name, bit in vars(DistributionFlags).items() if name.isupper() and flags & bit]
