"""Cost and peak memory of ours as work grows: images, boxes, classes, input size.

A *cliff* would be a cost that grows faster than the work. Each series is fitted by a straight line, with weights 1 / value,
so that small and large points count alike; the largest relative deviation from that line is the number that says how
straight it is. A value counts as a twentieth of the largest where it is less: what takes no time has no shape. A deviation
above the line at the right end would be a cliff.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.series import Series
from benchmarks.table import MEBI, Line


def growth_lines(plot: Path, *, threads: int) -> list[Line]:
    """Measures in a process of its own, draws `plot`, and gives one line a series."""
    command = [sys.executable, "-m", "benchmarks.growth", str(threads)]
    found = subprocess.run(command, cwd=Path(__file__).parents[1], check=True, stdout=subprocess.PIPE, text=True).stdout
    series = [Series(**{**row, "bytes": tuple(row["bytes"])}) for row in json.loads(found.splitlines()[-1])]
    draw(series, plot)
    return [_line(row) for row in series]


def _line(row: Series) -> Line:
    first, last = row.amounts[0], row.amounts[-1]
    lines = [
        f"{1e3 * row.seconds[0]:,.0f} → {1e3 * row.seconds[-1]:,.0f} ms, "
        f"{row.bytes[0] / MEBI:,.0f} → {row.bytes[-1] / MEBI:,.0f} MiB; worst deviation from a line: "
        f"time {100 * deviation(row.amounts, row.seconds):.0f} %, memory {100 * deviation(row.amounts, row.bytes):.0f} %"
    ]
    return Line(f"growth-{row.name}", f"{row.title}, {first:g} → {last:g} {row.unit}", "scales linearly", note=lines[0])


def line_fit(amounts: Sequence[float], values: Sequence[float]) -> np.ndarray:
    """(2,) offset and slope of the line of least relative squares."""
    x, y = np.asarray(amounts, float), np.asarray(values, float)
    weight = 1 / _floored(y, y)
    return np.linalg.lstsq(np.column_stack([weight, x * weight]), y * weight, rcond=None)[0]


def _floored(line: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.maximum(line, max(float(values.max()) / 20, 1e-9))


def deviation(amounts: Sequence[float], values: Sequence[float]) -> float:
    """Largest ``|value - line| / line``."""
    offset, slope = line_fit(amounts, values)
    y = np.asarray(values, float)
    line = offset + slope * np.asarray(amounts, float)
    return float((np.abs(y - line) / _floored(line, y)).max())


def draw(series: Sequence[Series], path: Path) -> None:
    """Two panels a series: seconds above, memory below, each with its fitted line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.1 * len(series), 5.4), layout="constrained")
    panels = figure.subplots(2, len(series), sharex="col", squeeze=False)
    for column, row in enumerate(series):
        for place, (label, values) in enumerate(
            (("ms", [1e3 * value for value in row.seconds]), ("peak MiB", [value / MEBI for value in row.bytes]))
        ):
            panel, colour = panels[place][column], ("tab:blue", "tab:orange")[place]
            offset, slope = line_fit(row.amounts, values)
            ends = np.array([0, max(row.amounts)])
            panel.plot(ends, offset + slope * ends, color="0.6", linewidth=1, linestyle="--")
            panel.plot(row.amounts, values, "o", color=colour)
            panel.set_ylim(bottom=0)
            panel.set_xlim(left=0)
            panel.grid(alpha=0.3)
            lines = f"off the line by {100 * deviation(row.amounts, values):.0f} %"
            panel.text(0.04, 0.93, lines, transform=panel.transAxes, fontsize=8)
            if place == 0:
                panel.set_title(row.title, fontsize=9)
            else:
                panel.set_xlabel(row.unit)
            panel.set_ylabel(label, fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    import torch

    from benchmarks.ours.growth import all_series

    torch.set_num_threads(int(sys.argv[1]))
    print(json.dumps([vars(row) for row in all_series()]))
