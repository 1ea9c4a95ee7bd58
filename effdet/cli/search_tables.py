"""How a search says what it found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table

from effdet.search.pareto import best_trial
from effdet.search.space import SearchSpace
from effdet.search.store import Trial

_SHORT = {"conv": "C", "separable": "S", "mbconv": "M", "fused": "F"}


@dataclass(frozen=True)
class FrontTable:
    """The Pareto front of accuracy and cost, for the terminal and for ``pareto.md``."""

    space: SearchSpace
    metric: str
    unit: str

    @property
    def columns(self) -> tuple[str, ...]:
        return ("trial", "name", self.metric, self.unit, "reward", "op, kernel × layers by stage")

    def terminal(self, front: Sequence[Trial], best: Trial | None) -> Table:
        """The row of `best` is bold."""
        table = Table(*self.columns, box=box.SIMPLE_HEAD, title="Pareto front", pad_edge=False)
        for trial in front:
            chosen = best is not None and trial.number == best.number
            table.add_row(*self._cells(trial), style="bold" if chosen else "")
        return table

    def markdown(self, front: Sequence[Trial]) -> str:
        rows = [self.columns, ["---"] * len(self.columns), *(self._cells(trial) for trial in front)]
        return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"

    def _cells(self, trial: Trial) -> tuple[str, ...]:
        spec = self.space.decode(trial.choices)
        return (
            str(trial.number),
            spec.name,
            f"{trial.accuracy:.4f}",
            f"{trial.cost:.4g}",
            f"{trial.reward:.4f}",
            " ".join(f"{_SHORT[stage.op]}{stage.kernel}×{stage.repeats}" for stage in spec.stages),
        )


def best_reward(trials: Sequence[Trial]) -> str:
    """Of the trials so far."""
    best = best_trial(trials)
    return "–" if best is None else f"{best.reward:.4f}"


def summary(trials: Sequence[Trial]) -> str:
    """How many ended how, in a line."""
    ended = [trial.state for trial in trials if trial.same_as is None]
    repeats = len(trials) - len(ended)
    minutes = sum(trial.seconds or 0.0 for trial in trials) / 60
    return (
        f"{len(trials)} trials: {ended.count('done')} trained, {ended.count('failed')} failed, {ended.count('nan')} not "
        f"finite, {repeats} repeats of an earlier one; {minutes:.1f} minutes of training"
    )
