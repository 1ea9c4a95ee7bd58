"""Fits models to budgets and finds scaling coefficients: `python scripts/scale.py --help`."""

import sys

from effdet.cli.app import main

if __name__ == "__main__":
    sys.exit(main(["scale", *sys.argv[1:]]))
