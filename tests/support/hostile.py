"""What a hostile node may put into names and texts, and how to see that none of it comes out raw."""

from __future__ import annotations

import re

#: What makes a terminal do something, hides text or turns its direction: C0 (but newline and tab, which keep their
#: meaning in text of several lines) and C1, DEL, zero-width characters, line and paragraph separators, bidi overrides.
DANGEROUS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")
