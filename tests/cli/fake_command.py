"""What a job of ``-m`` starts in tests: writes the files of a training without training.

    python fake_command.py COMMAND OVERRIDE … run_dir=DIR resume=auto

Each start adds a line to ``starts.txt``; five steps of ``FAKE_PAUSE`` seconds each add one to ``steps.txt``, from where it
stopped. The metric is a function of the overrides. ``seed=13`` fails.
"""

import json
import os
import sys
import time
from pathlib import Path

overrides = dict(argument.split("=", 1) for argument in sys.argv[2:] if "=" in argument)
directory = Path(overrides["run_dir"])
with (directory / "starts.txt").open("a") as file:
    file.write(f"{json.dumps(sys.argv[1:])}\n")
if overrides.get("seed") == "13":
    print("error: thirteen is no seed")
    sys.exit(2)
steps = directory / "steps.txt"
done = len(steps.read_text().splitlines()) if steps.exists() else 0
for step in range(done, 5):
    time.sleep(float(os.environ.get("FAKE_PAUSE", "0")))
    with steps.open("a") as file:
        file.write(f"{step}\n")
value = 0.5 + 0.01 * int(overrides.get("seed", "0")) + (0.1 if overrides.get("augment") == "light" else 0.0)
(directory / "metrics.json").write_text(json.dumps({"AP": value}))
print(directory)
