"""Runs a step again that was not finite: `python scripts/replay.py --help`."""

import sys

from effdet.cli.app import main

if __name__ == "__main__":
    sys.exit(main(["replay", *sys.argv[1:]]))
