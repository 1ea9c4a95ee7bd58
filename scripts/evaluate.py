"""Measures a model: `python scripts/evaluate.py --help`."""

import sys

from effdet.cli.app import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
