"""Serves a model over HTTP: `python scripts/serve.py --help`."""

import sys

from effdet.cli.app import main

if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
