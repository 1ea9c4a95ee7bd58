"""Trains a model: `python scripts/train.py --help`."""

import sys

from effdet.cli.app import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
