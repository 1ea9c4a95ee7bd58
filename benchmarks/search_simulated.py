"""``python -m benchmarks.search_simulated``: the search algorithms on the simulated landscape, as a table and a plot.

PPO, REINFORCE, regularised evolution and random search at 200, 500 and 1,000 trials with 20 seeds each
(:mod:`benchmarks.simulated`). Settings don't depend on the number of trials, so a shorter search is the beginning of a
longer one. The controllers' settings were chosen on landscapes 101 and 102; the one reported is 0.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.simulated import simulate, simulation
from benchmarks.table import cpu_name
from effdet.search.algorithms import ALGORITHMS, make_searcher

TRIALS = (200, 500, 1000)
Curves = dict[str, NDArray[np.float64]]
"""Algorithm -> (seeds, trials) rewards."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search_simulated")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--batch", type=int, default=20, help="candidates between two updates")
    parser.add_argument("--landscape", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("search_simulated"), help="folder")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    curves = run(seeds=options.seeds, batch=options.batch, landscape=options.landscape)
    facts = {
        "seeds": options.seeds,
        "batch": options.batch,
        "landscape": options.landscape,
        "minutes": round((time.perf_counter() - started) / 60, 1),
        "cpu": f"one thread of {cpu_name()}",
    }
    options.out.mkdir(parents=True, exist_ok=True)
    text = table(curves)
    (options.out / "table.md").write_text(f"{text}\n\n*measured*: {facts}\n", encoding="utf-8")
    (options.out / "table.json").write_text(json.dumps({"facts": facts, "rows": rows(curves)}, indent=1), "utf-8")
    plot(curves, options.out / "curves.png")
    print(text)
    print(options.out)


def run(*, seeds: int, batch: int, landscape: int = 0, trials: int = max(TRIALS)) -> Curves:
    """Every algorithm with the seeds 0 ... `seeds` - 1."""
    worth = simulation(seed=landscape)
    curves = {}
    for name in ALGORITHMS:
        searches = (make_searcher(name, worth.space.sizes, seed=seed) for seed in range(seeds))
        curves[name] = np.stack([simulate(searcher, worth, trials=trials, batch=batch) for searcher in searches])
        print(f"{name}: best of {seeds} seeds {curves[name].max():.4f}", flush=True)
    return curves


def rows(curves: Mapping[str, NDArray[np.float64]]) -> list[dict[str, Any]]:
    """For each algorithm and number of trials: mean of the last tenth, and best so far; mean and deviation over seeds."""
    found = []
    for trials in TRIALS:
        for name, rewards in curves.items():
            last = rewards[:, trials * 9 // 10 : trials].mean(1)
            best = rewards[:, :trials].max(1)
            values = {
                "last": last.mean(),
                "last_sd": last.std(ddof=1),
                "best": best.mean(),
                "best_sd": best.std(ddof=1),
            }
            found.append({"trials": trials, "algorithm": name, **{key: float(value) for key, value in values.items()}})
    return found


def table(curves: Mapping[str, NDArray[np.float64]]) -> str:
    lines = ["| trials | algorithm | reward, mean of the last tenth | best so far |", "|---|---|---|---|"]
    lines += [
        f"| {row['trials']:,} | {row['algorithm']} | {row['last']:.3f} ± {row['last_sd']:.3f} "
        f"| {row['best']:.3f} ± {row['best_sd']:.3f} |"
        for row in rows(curves)
    ]
    return "\n".join(lines)


def plot(curves: Mapping[str, NDArray[np.float64]], path: Path) -> None:
    """Both measures over the trials; bands are one standard deviation over seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    mean_axes, best_axes = figure.subplots(1, 2, sharey=True)
    for name, rewards in curves.items():
        trials = np.arange(1, rewards.shape[1] + 1)
        window = 50
        moving = np.stack([np.convolve(row, np.ones(window) / window, "valid") for row in rewards])
        for axes, values, place in (
            (mean_axes, moving, trials[window - 1 :]),
            (best_axes, np.maximum.accumulate(rewards, 1), trials),
        ):
            middle, spread = values.mean(0), values.std(0, ddof=1)
            axes.plot(place, middle, label=name, linewidth=1.5)
            axes.fill_between(place, middle - spread, middle + spread, alpha=0.15, linewidth=0)
    mean_axes.set(title="mean of the latest 50", xlabel="trials", ylabel="reward")
    best_axes.set(title="best so far", xlabel="trials")
    best_axes.legend(loc="lower right")
    for axes in (mean_axes, best_axes):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
