"""Runs a committed list of trainings one after the other and appends one JSON line a run to a results file.

    python -m benchmarks.runlist benchmarks/lists/finetune.yaml --data DIR --out DIR [--only GLOB] [--minutes 60]

The list is a YAML file: ``sets``, ``weights`` and ``recipes`` map names to overrides of ``effdet train``; ``groups`` holds
their products, in the order in which they are run, with the predicted minutes of one run. ``{data}``, ``{out}`` and
``{weights}`` in an override stand for the folders of the command line. A run whose line is in the results file is passed
over, a half-done one is resumed. Each run has one thread, so that several lists can share a machine.
"""

from __future__ import annotations

import argparse
import csv
import fnmatch
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Run:
    """One training."""

    name: str
    """``SET-WEIGHTS-RECIPE-EPOCHS-SEED``."""
    overrides: tuple[str, ...]
    """Of ``effdet train``, with folders still in braces."""
    test: bool
    """The set has a test split, which is evaluated once, at the end."""
    minutes: float
    """Predicted, on one thread."""
    seed: int


def read_list(path: Path) -> list[Run]:
    """The runs of a list, in order.

    Raises:
        SystemExit: a group names a set, weights or a recipe that the list does not define.
    """
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    runs = []
    for group in content["groups"]:
        epochs = group.get("epochs", 12)
        for seed, entry, weights, recipe in product(group["seeds"], group["sets"], group["weights"], group["recipes"]):
            for kind, name in (("sets", entry), ("weights", weights), ("recipes", recipe)):
                if name not in content[kind]:
                    raise SystemExit(f"{path}: {kind} has no {name!r}; it has {', '.join(content[kind])}")
            dataset = content["sets"][entry]
            overrides = [*dataset["overrides"], *content["weights"][weights], *content["recipes"][recipe]]
            overrides += [f"trainer.max_epochs={epochs}", f"seed={seed}"]
            name = f"{entry}-{weights}-{recipe}-{epochs}-{seed}"
            runs.append(Run(name, tuple(overrides), dataset.get("test", False), group["minutes"], seed))
    return runs


def finished(results: Path) -> dict[str, dict[str, Any]]:
    """The lines of a results file by the name of their run."""
    if not results.is_file():
        return {}
    lines = (json.loads(line) for line in results.read_text(encoding="utf-8").splitlines() if line.strip())
    return {line["name"]: line for line in lines}


def curve(run_dir: Path) -> Iterator[dict[str, float]]:
    """Step, epochs done, AP and AP50 of every evaluation in ``metrics.csv``; the starting weights have done none."""
    with (run_dir / "metrics.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row.get("val/AP"):
                step = int(row["step"])
                numbers = {key: round(float(row[f"val/{key}"]), 5) for key in ("AP", "AP50")}
                yield {"step": step, "epoch": int(row["epoch"]) + 1 if step else 0, **numbers}


def first_loss(run_dir: Path) -> float | None:
    """Loss of the first optimiser step."""
    with (run_dir / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return next((float(row["loss"]) for row in csv.DictReader(file) if row.get("loss")), None)


def execute(run: Run, directories: Mapping[str, str], out: Path) -> dict[str, Any]:
    """Train (or go on with) `run` and evaluate it on test; the line for the results file."""
    run_dir = out / run.name
    overrides = [override.format(**directories) for override in run.overrides]
    begun = (run_dir / "config.yaml").is_file()
    command = ["train", *overrides, f"run_dir={run_dir}", "progress=false", "report=false", "workers=0"]
    started = time.perf_counter()
    _effdet([*command, "resume=auto"] if begun else command, out / f"{run.name}.log")
    line: dict[str, Any] = {
        "name": run.name,
        "command": "effdet train " + " ".join(run.overrides),
        "commit": _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain") else ""),
        "seed": run.seed,
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": f"{platform.machine()}, 1 thread",
        "minutes": round((time.perf_counter() - started) / 60, 2),
        "resumed": begun,
        "first_loss": first_loss(run_dir),
        "val": list(curve(run_dir)),
    }
    if run.test:
        directory = out / f"{run.name}-test"
        model = run_dir / "checkpoints" / "last.ckpt"
        _effdet(
            ["evaluate", f"model={model}", "split=test", f"out={directory}", "report=false"],
            out / f"{run.name}.test.log",
        )
        metrics = json.loads((directory / "metrics.json").read_text(encoding="utf-8"))
        line["test"] = {key: metrics[key] for key in ("AP", "AP50", "AP75")}
    return line


def _effdet(arguments: list[str], log: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with log.open("a", encoding="utf-8") as file:
        command = [sys.executable, "-m", "effdet", *arguments]
        result = subprocess.run(command, cwd=ROOT, env=environment, stdout=file, stderr=file, check=False)
    if result.returncode:
        raise RuntimeError(f"{arguments[0]} ended with exit code {result.returncode}; see {log}")


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runlist", description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("list", type=Path)
    parser.add_argument("--data", required=True, help="folder of the data sets, each as its owners publish it")
    parser.add_argument("--out", type=Path, required=True, help="where the runs are written, outside of the repository")
    parser.add_argument("--results", type=Path, help="default: beside the list, with the suffix .jsonl")
    parser.add_argument("--only", default="*", help="pattern of run names")
    parser.add_argument("--minutes", type=float, help="begin no run that would end later, by its prediction")
    parser.add_argument("--dry-run", action="store_true", help="print the list with its predicted hours")
    options = parser.parse_args()
    results = options.results or options.list.with_suffix(".jsonl")
    runs = [run for run in read_list(options.list) if fnmatch.fnmatch(run.name, options.only)]
    if options.dry_run:
        for run in runs:
            print(f"{run.minutes:6.1f} min  {run.name}{'  (done)' if run.name in finished(results) else ''}")
        print(f"{sum(run.minutes for run in runs) / 60:.1f} hours in all")
        return
    options.out.mkdir(parents=True, exist_ok=True)
    directories = {"data": str(Path(options.data).resolve()), "out": str(options.out.resolve())}
    deadline = None if options.minutes is None else time.monotonic() + 60 * options.minutes
    for run in runs:
        if run.name in finished(results):
            continue
        if deadline is not None and time.monotonic() + 60 * run.minutes > deadline:
            print(f"{run.name}: no time left")
            continue
        try:
            line = execute(run, directories, options.out.resolve())
        except RuntimeError as error:  # the other runs go on
            print(f"{run.name}: {error}", flush=True)
            continue
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        last = line["val"][-1] if line["val"] else {}
        print(f"{run.name}: {line['minutes']} min, first loss {line['first_loss']}, val {last}", flush=True)


if __name__ == "__main__":
    main()
