"""Prints the table of fine-tuning runs: first loss, AP before training and after 1, 6 and 12 epochs, test.

    python -m benchmarks.finetune benchmarks/lists/finetune.jsonl

One row a set, weights and recipe: medians over the seeds that are there, with the lowest and highest last AP.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EPOCHS = (1, 6, 12)
"""Columns; an evaluation after epoch e carries e in ``metrics.csv``, counted from 1."""


def ap_after(line: dict[str, Any], epoch: int) -> float | None:
    """AP of the evaluation after `epoch` epochs (0: of the starting weights), None where there was none."""
    return next((row["AP"] for row in line["val"] if round(row["epoch"]) == epoch), None)


def table(lines: Sequence[dict[str, Any]]) -> str:
    """The table in Markdown."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for line in lines:
        entry, weights, recipe, _, _ = line["name"].rsplit("-", 4)
        groups.setdefault((entry, weights, recipe), []).append(line)
    head = [
        "set",
        "weights",
        "recipe",
        "seeds",
        "first loss",
        "start",
        *(f"epoch {e}" for e in EPOCHS),
        "spread",
        "test AP / AP50",
    ]
    rows = [head, ["---"] * len(head)]
    for key, group in groups.items():
        columns = [_median([ap_after(line, epoch) for line in group]) for epoch in (0, *EPOCHS)]
        last = [value for line in group if (value := ap_after(line, EPOCHS[-1])) is not None]
        spread = f"{min(last):.3f} to {max(last):.3f}" if len(last) > 1 else ""
        tests = [line["test"] for line in group if "test" in line]
        test = " / ".join(_median([values[name] for values in tests]) for name in ("AP", "AP50")) if tests else ""
        loss = _median([line["first_loss"] for line in group], digits=2)
        seeds = ", ".join(sorted(str(line["seed"]) for line in group))
        rows.append([*key, seeds, loss, *columns, spread, test])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _median(values: Sequence[float | None], digits: int = 3) -> str:
    there = [value for value in values if value is not None]
    return f"{statistics.median(there):.{digits}f}" if there else ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.finetune", description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("results", type=Path)
    options = parser.parse_args()
    print(table([json.loads(line) for line in options.results.read_text(encoding="utf-8").splitlines()]))


if __name__ == "__main__":
    main()
