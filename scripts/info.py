"""Lists and describes models: `python scripts/info.py --help`."""

import sys

from effdet.cli.app import main

if __name__ == "__main__":
    sys.exit(main(["info", *sys.argv[1:]]))
