"""Writes a model for another runtime: `python scripts/export.py --help`."""

import sys

from effdet.cli.app import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
