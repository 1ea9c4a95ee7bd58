"""Compares two evaluations: `python scripts/compare.py --help`."""

import sys

from effdet.cli.app import main

if __name__ == "__main__":
    sys.exit(main(["compare", *sys.argv[1:]]))
