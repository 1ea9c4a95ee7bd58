"""The Pareto front: candidates that no other beats in accuracy without costing more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from effdet.search.store import Trial


def pareto_front(trials: Sequence[Trial]) -> list[Trial]:
    """Trials of the front, by rising cost and so by rising accuracy; of equals the first."""
    front: list[Trial] = []
    done = [trial for trial in trials if trial.state == "done" and trial.same_as is None]
    for trial in sorted(done, key=lambda trial: (trial.cost or 0.0, -(trial.accuracy or 0.0), trial.number)):
        if not front or (trial.accuracy or 0.0) > (front[-1].accuracy or 0.0):
            front.append(trial)
    return front


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """The highest reward, of equals the first; None where none was trained to its end."""
    done = [trial for trial in trials if trial.state == "done"]
    return max(done, key=lambda trial: trial.reward or 0.0, default=None)


def plot_front(trials: Sequence[Trial], path: Path, *, metric: str, cost: str, target: float) -> Path:
    """Accuracy over cost, coloured by the order of trials, with the front and the target; a PNG.

    Args:
        cost: name and unit, for the axis.
    """
    from matplotlib.figure import Figure

    done = [trial for trial in trials if trial.state == "done" and trial.same_as is None]
    front, best = pareto_front(trials), best_trial(trials)
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    if done:
        dots = axes.scatter(
            [trial.cost or 0.0 for trial in done],
            [trial.accuracy or 0.0 for trial in done],
            c=[trial.number for trial in done],
            cmap="viridis",
            s=26,
            zorder=2,
        )
        figure.colorbar(dots, ax=axes, label="trial")
        axes.step(
            [trial.cost or 0.0 for trial in front],
            [trial.accuracy or 0.0 for trial in front],
            where="post",
            color="tab:red",
            linewidth=1.3,
            label="Pareto front",
            zorder=1,
        )
    if best is not None:
        star = {"marker": "*", "s": 170, "facecolor": "none", "edgecolor": "tab:red", "linewidth": 1.3, "zorder": 3}
        axes.scatter([best.cost or 0.0], [best.accuracy or 0.0], label="highest reward", **star)
    axes.axvline(target, color="grey", linestyle="--", linewidth=1, label="target")
    axes.set(xlabel=cost, ylabel=metric)
    axes.grid(alpha=0.3)
    axes.locator_params(nbins=5)  # costs have many digits
    axes.legend(loc="best")
    figure.savefig(path, dpi=120)
    return path
