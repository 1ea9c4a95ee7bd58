"""``python -m effdet COMMAND key=value …``, and what the ``effdet`` script calls."""

from __future__ import annotations

import sys

from effdet.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
