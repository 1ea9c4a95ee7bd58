"""The Pareto front: candidates that no other beats in accuracy without costing more."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise, zip_longest
from pathlib import Path

from effdet.html import Page, figure, line_chart, section
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
    """An HTML page: accuracy over cost with the front and the target, and accuracy in the order of the trials.

    Args:
        trials: of a study, in any state.
        cost: name and unit, for the axis.
    """
    done = [trial for trial in trials if trial.state == "done" and trial.same_as is None]
    points = {trial.number: (trial.cost or 0.0, trial.accuracy or 0.0) for trial in done}
    heights = [accuracy for _, accuracy in points.values()]
    series = {
        "trial": dots(points.values()),
        "Pareto front": _steps([points[trial.number] for trial in pareto_front(trials)]),
        "highest reward": [] if (best := best_trial(trials)) is None else [points[best.number]],
        "target": [(target, min(heights, default=0.0)), (target, max(heights, default=1.0))],
    }
    order = dots((float(number), accuracy) for number, (_, accuracy) in points.items())
    page = Page("Architecture search", f"{len(done)} trained candidates")
    page.add(section("Accuracy and cost", figure(line_chart(series, x_label=cost, y_label=metric))))
    page.add(section("Trials", figure(line_chart({"trial": order}, x_label="trial", y_label=metric))))
    return page.write(path)


def dots(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """`points` as a series of single points: a chart joins none of them."""
    return [each for point in points for each in (point, (math.nan, math.nan))]


def _steps(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A staircase that rises at each of `points`."""
    corners = [(after[0], before[1]) for before, after in pairwise(points)]
    return [each for step in zip_longest(points, corners) for each in step if each is not None]
