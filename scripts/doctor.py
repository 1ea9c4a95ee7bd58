"""Validates a data set: `python scripts/doctor.py --help`."""

import sys

from effdet.cli.app import main

if __name__ == "__main__":
    sys.exit(main(["doctor", *sys.argv[1:]]))
