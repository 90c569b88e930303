"""``python -m iris_admin`` is ``iris-admin``."""

from __future__ import annotations

from iris_admin.cli.start import main

if __name__ == "__main__":
    main()
