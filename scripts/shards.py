"""Writes a data set as tar shards: `python scripts/shards.py --help`."""

import sys

from effdet.cli.app import main

if __name__ == "__main__":
    sys.exit(main(["shards", *sys.argv[1:]]))
