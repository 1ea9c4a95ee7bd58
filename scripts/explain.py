"""Shows where a model looks: `python scripts/explain.py --help`."""

import sys

from effdet.cli.app import main

if __name__ == "__main__":
    sys.exit(main(["explain", *sys.argv[1:]]))
