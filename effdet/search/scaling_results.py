"""Results of a scaling study as files: JSON, CSV and a plot of the metric over multiply-adds."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from effdet.evaluation.results import write_json
from effdet.files import write_text
from effdet.html import Page, figure, line_chart, section, table
from effdet.search.pareto import dots
from effdet.search.scaling_study import Outcome


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
    """Write ``NAME.json``, ``NAME.csv`` and ``NAME.html``; gives the paths.

    Args:
        facts: of the whole study, put beside the rows.
    """
    rows = [row(outcome, metric) for outcome in outcomes]
    paths = [write_json(folder / f"{name}.json", {**facts, "rows": rows}, indent=1), folder / f"{name}.csv"]
    text = io.StringIO()
    columns = [key for key in rows[0] if key not in ("scores", "failures")] if rows else []
    seeds = sorted({seed for outcome in outcomes for seed in outcome.scores})
    sheet = csv.DictWriter(text, [*columns, *(f"seed{seed}" for seed in seeds)], extrasaction="ignore")
    sheet.writeheader()
    for values in rows:
        sheet.writerow({**values, **{f"seed{seed}": values["scores"].get(str(seed)) for seed in seeds}})
    write_text(paths[1], text.getvalue())
    if any(outcome.scores for outcome in outcomes):
        paths.append(plot(folder / f"{name}.html", outcomes, metric))
    return paths


def plot(path: Path, outcomes: Sequence[Outcome], metric: str) -> Path:
    """An HTML page: the metric of each seed over multiply-adds, a bar for mean ± spread, and the means as a table."""
    series: dict[str, list[tuple[float, float]]] = {}
    for outcome in outcomes:
        if (mean := outcome.mean) is None:
            continue
        macs, spread = outcome.candidate.cost.gmacs * 1e3, outcome.spread or 0.0
        points = series.setdefault(outcome.candidate.kind, [])
        points += dots((macs, score) for score in outcome.scores.values())
        points += [(macs, mean - spread), (macs, mean + spread), (math.nan, math.nan)]
    columns = ("name", "kind", "10⁶ multiply-adds", metric, "spread", "seeds")
    rows = [
        [
            outcome.candidate.name,
            outcome.candidate.kind,
            f"{outcome.candidate.cost.gmacs * 1e3:,.1f}",
            "–" if outcome.mean is None else f"{outcome.mean:.4f}",
            "–" if outcome.spread is None else f"{outcome.spread:.4f}",
            len(outcome.scores),
        ]
        for outcome in outcomes
    ]
    page = Page("Scaling study", f"{len(outcomes)} candidates")
    chart = line_chart(series, x_label="10⁶ multiply-adds of an image", y_label=metric)
    page.add(section("Metric and cost", figure(chart, "Dots: seeds. Bars: mean ± standard deviation.")))
    page.add(section("Candidates", table(columns, rows)))
    return page.write(path)
