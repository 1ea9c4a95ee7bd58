"""Models without trainings: the largest phi within a budget, or the model of one phi.

Where all that can be done is to measure one phi after another, :func:`fit_phi` does so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from effdet.model import Architecture, ModelSpec, count_cost, write_model_file
from effdet.scaling import HIGHEST, LOWEST
from effdet.search.coefficients import scaled
from effdet.search.costs import machine, measure_latency, measure_memory
from effdet.search.jobs import Trainings
from effdet.search.scaling_study import ScaleSettings
from heads.structures import UserError


@dataclass(frozen=True)
class Budget:
    """What a model may take."""

    key: str
    limit: float
    unit: str
    measure: Callable[[ModelSpec], tuple[float, str]]
    """The model's value, and what was measured, as text."""


def fit_model(config: ScaleSettings, trainings: Trainings) -> Path:
    """Writes the model file; returns its path."""
    budget = _budget(config, trainings)
    architecture = _chosen(config, trainings) if budget is None else _fitted(budget, trainings)
    return write_model_file(config.out or Path("architectures") / f"{architecture.name}.json", architecture)


def _chosen(config: ScaleSettings, trainings: Trainings) -> Architecture:
    """The model of ``phi=``, by published scaling or by the user's coefficients."""
    if config.phi is None:
        raise ValueError("phi and every budget are None: nothing to choose by")
    if (coefficients := config.coefficients) is None:
        architecture = trainings.published(config.phi)
        made_by: dict[str, Any] = {"how": f"phi={config.phi:g}, published scaling"}
    else:
        base = trainings.base()
        name = f"{base.name}-{coefficients.label}-phi{config.phi:g}"
        architecture = scaled(base, coefficients.at(config.phi), name=name, size_step=config.size_step)
        made_by = {
            "how": f"{base.name} scaled by {coefficients.label}, phi={config.phi:g}",
            "base_size": list(base.image_size),
        }
    cost = count_cost(spec := trainings.spec(architecture))
    height, width = spec.preprocess.size
    print(f"{architecture.name}: {cost.parameters:,} parameters, {cost.gmacs:.4g} GMACs at {height} × {width} px")
    facts = {"task": trainings.task, "parameters": cost.parameters, "gmacs": cost.gmacs}
    return replace(architecture, made_by={**made_by, **facts})


def _fitted(budget: Budget, trainings: Trainings) -> Architecture:
    measured: list[tuple[float, ModelSpec, float, str]] = []
    console = Console()

    def measure(phi: float) -> float:
        spec = trainings.spec(trainings.published(phi))
        # Rounding makes one network of neighbouring phi: it is not measured twice, with two results.
        known = next((row for row in measured if _nameless(row[1]) == _nameless(spec)), None)
        value, text = (known[2], f"as phi={known[0]:g}") if known else budget.measure(spec)
        measured.append((phi, spec, value, text))
        console.print(f"phi={phi:g}: {value:.4g} {budget.unit}", highlight=False)
        return value

    fitted = fit_phi(measure, budget.limit)
    console.print(_table(budget, fitted, measured))
    what = f"{budget.key}={budget.limit:g}"
    if fitted is None:
        lowest = measured[-1]
        raise UserError(
            f"{what}: the smallest model (phi={lowest[0]:g}) takes {lowest[2]:.4g} {budget.unit} here; give it more, a smaller "
            "image_size=, or another machine"
        )
    phi, _, value, text = next(row for row in measured if row[0] == fitted)
    if fitted == HIGHEST:
        console.print(f"{what} has room for more: phi={phi:g}, the largest, takes {value:.4g} {budget.unit}")
    made_by = {
        "how": f"scale {what}",
        "task": trainings.task,
        "phi": phi,
        "measured": text,
        "unit": budget.unit,
        "value": value,
        "machine": machine(),
        "probes": [[row[0], row[2]] for row in measured],
    }
    return replace(trainings.published(phi), made_by=made_by)


def _budget(config: ScaleSettings, trainings: Trainings) -> Budget | None:
    device = trainings.device

    def latency(spec: ModelSpec) -> tuple[float, str]:
        found = measure_latency(spec, device=device, runs=config.runs, threads=config.threads)
        return found.milliseconds, str(found)

    def memory(spec: ModelSpec) -> tuple[float, str]:
        found = measure_memory(spec, device=device, threads=config.threads)
        return found.megabytes, str(found)

    def gmacs(spec: ModelSpec) -> tuple[float, str]:
        cost = count_cost(spec)
        return cost.gmacs, f"{cost.gmacs:.4g} GMACs (counted)"

    ways = {"fit_latency_ms": ("ms", latency), "fit_memory_mb": ("MB", memory), "fit_gmacs": ("GMACs", gmacs)}
    for key, (unit, measure) in ways.items():
        if (limit := getattr(config, key)) is not None:
            return Budget(key, limit, unit, measure)
    return None


def _table(budget: Budget, fitted: float | None, measured: list[tuple[float, ModelSpec, float, str]]) -> Table:
    table = Table("phi", "input", "measured", "fits", box=box.SIMPLE_HEAD, title=f"{budget.key}={budget.limit:g}")
    table.columns[0].justify = "right"
    for phi, spec, value, text in sorted(measured, key=lambda row: row[0]):
        chosen = phi == fitted
        fits = "chosen" if chosen else "yes" if value <= budget.limit else "no"
        height, width = spec.preprocess.size
        table.add_row(f"{phi:g}", f"{height} × {width}", text, fits, style="bold" if chosen else "")
    return table


def _nameless(spec: ModelSpec) -> ModelSpec:
    return spec.replace(name="", backbone=replace(spec.backbone, name=""))


STEP = 0.05
"""Phi is tried in multiples of this: sizes and layers are whole numbers, so that finer steps give the same network."""


def fit_phi(measure: Callable[[float], float], budget: float) -> float | None:
    """Bisect phi in [-4, 6] for the largest that is measured and whose ``measure(phi)`` is at most `budget`; None for none.

    From phi = 0 the search goes up, or down, by whole steps until the budget lies between two of them, and then halves the
    gap: models far above the budget, which would take minutes or all memory, are never measured. `measure` should rise with
    phi; where noise makes it fall, the answer is still a phi that was measured within the budget.
    """

    def fits(step: int) -> bool:
        return measure(round(step * STEP, 6)) <= budget

    whole, low, high = round(1 / STEP), round(LOWEST / STEP), round(HIGHEST / STEP)
    inside = outside = 0
    if fits(0):
        outside = whole
        while outside <= high and fits(outside):
            inside, outside = outside, outside + whole
        if outside > high:
            return HIGHEST
    else:
        inside = -whole
        while inside >= low and not fits(inside):
            inside, outside = inside - whole, inside
        if inside < low:
            return None
    while outside - inside > 1:
        middle = (inside + outside) // 2
        if fits(middle):
            inside = middle
        else:
            outside = middle
    return round(inside * STEP, 6)
