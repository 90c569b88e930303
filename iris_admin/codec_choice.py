"""Which of the two codecs a process uses.

The environment variable ``IRIS_ADMIN_CODEC`` says ``pure`` (Python, which is always there) or ``compiled`` (C, where it
was built); without it, the compiled one is used if it is there. They differ in speed only. This stands outside of
:mod:`iris_admin.proto`, which looks at nothing but its arguments.
"""

from __future__ import annotations

import os

from iris_admin.errors import ConfigError

CODEC_VARIABLE = "IRIS_ADMIN_CODEC"

_CODECS = ("pure", "compiled")


def wanted_codec() -> str | None:
    """The codec that the environment asks for: ``pure``, ``compiled``, or None for the faster one that there is.

    :raises ConfigError: when the variable holds anything else.
    """
    wanted = os.environ.get(CODEC_VARIABLE)
    if wanted and wanted not in _CODECS:
        raise ConfigError(f"{CODEC_VARIABLE} is {wanted!r}", hint=f"set it to {' or '.join(_CODECS)}, or unset it")
    return wanted or None
