"""Results of a scaling study as files: JSON, CSV and a plot of the metric over multiply-adds."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from effdet.evaluation.results import write_json
from effdet.files import write_text
from effdet.search.scaling_study import Outcome

COLOURS = {
    "base": "#7a7a7a",
    "grid": "#7a7a7a",
    "compound": "#d1495b",
    "depth": "#00798c",
    "width": "#edae49",
    "resolution": "#30638e",
}


def row(outcome: Outcome, metric: str) -> dict[str, Any]:
    """One candidate as plain values."""
    candidate = outcome.candidate
    factors, coefficients = candidate.factors, candidate.coefficients
    return {
        "name": candidate.name,
        "kind": candidate.kind,
        "alpha": None if coefficients is None else coefficients.alpha,
        "beta": None if coefficients is None else coefficients.beta,
        "gamma": None if coefficients is None else coefficients.gamma,
        "depth": round(factors.depth, 4),
        "width": round(factors.width, 4),
        "resolution": round(factors.resolution, 4),
        "height": candidate.architecture.image_size[0],
        "input_width": candidate.architecture.image_size[1],
        "layers": candidate.architecture.backbone.blocks,
        "parameters": candidate.cost.parameters,
        "gmacs": candidate.cost.gmacs,
        "metric": metric,
        "mean": outcome.mean,
        "spread": outcome.spread,
        "scores": {str(seed): score for seed, score in outcome.scores.items()},
        "failures": {str(seed): error for seed, error in outcome.failures.items()},
        "seconds": round(sum(outcome.seconds.values()), 1),
    }


def write_study(folder: Path, name: str, outcomes: Sequence[Outcome], metric: str, facts: dict[str, Any]) -> list[Path]:
    """Write ``NAME.json``, ``NAME.csv`` and ``NAME.png``; gives the paths.

    Args:
        facts: of the whole study, put beside the rows.
    """
    rows = [row(outcome, metric) for outcome in outcomes]
    paths = [write_json(folder / f"{name}.json", {**facts, "rows": rows}, indent=1), folder / f"{name}.csv"]
    text = io.StringIO()
    columns = [key for key in rows[0] if key not in ("scores", "failures")] if rows else []
    seeds = sorted({seed for outcome in outcomes for seed in outcome.scores})
    table = csv.DictWriter(text, [*columns, *(f"seed{seed}" for seed in seeds)], extrasaction="ignore")
    table.writeheader()
    for values in rows:
        table.writerow({**values, **{f"seed{seed}": values["scores"].get(str(seed)) for seed in seeds}})
    write_text(paths[1], text.getvalue())
    if any(outcome.scores for outcome in outcomes):
        paths.append(plot(folder / f"{name}.png", outcomes, metric))
    return paths


def plot(path: Path, outcomes: Sequence[Outcome], metric: str) -> Path:
    """Each candidate's mean over its multiply-adds, with its spread, and each seed as a small dot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), dpi=120, layout="constrained")
    axes = figure.subplots()
    for outcome in outcomes:
        if (mean := outcome.mean) is None:
            continue
        candidate, macs = outcome.candidate, outcome.candidate.cost.gmacs * 1e3
        colour = COLOURS.get(candidate.kind, "black")
        axes.errorbar(macs, mean, yerr=outcome.spread or 0.0, fmt="o", color=colour, capsize=4, markersize=7)
        axes.plot([macs] * len(outcome.scores), list(outcome.scores.values()), ".", color=colour, alpha=0.5)
        label = candidate.kind if candidate.coefficients is None else candidate.name
        axes.annotate(label, (macs, mean), xytext=(8, 4), textcoords="offset points", fontsize=9, color=colour)
    axes.set_xlabel("10⁶ multiply-adds of a picture")
    axes.set_ylabel(metric)
    axes.margins(x=0.15, y=0.15)
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(path)
    return path
