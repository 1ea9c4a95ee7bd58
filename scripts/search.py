"""Searches for an architecture: `python scripts/search.py --help`."""

import sys

from effdet.cli.app import main

if __name__ == "__main__":
    sys.exit(main(["search", *sys.argv[1:]]))
