"""The version, apart from everything else so that whatever needs it can import it."""

from __future__ import annotations

__version__ = "0.1.0"
