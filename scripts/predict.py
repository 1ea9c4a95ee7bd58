"""Draws a model's predictions: `python scripts/predict.py --help`."""

import sys

from effdet.cli.app import main

if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]]))
