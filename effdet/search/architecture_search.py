"""One run of `effdet search`: its settings, its progress, and the files at its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from rich import box
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from backbones.scaling import BackboneSpec
from effdet.evaluation.results import write_json
from effdet.files import write_text
from effdet.model import Architecture, ModelSpec, count_cost, write_model_file
from effdet.search.algorithms import make_searcher
from effdet.search.costs import backbone_macs, machine, measure_latency
from effdet.search.equal_macs import equal_macs_baseline
from effdet.search.jobs import Job, Trainings
from effdet.search.pareto import best_trial, pareto_front, plot_front
from effdet.search.space import SearchSpace
from effdet.search.store import StudyStore, Trial
from effdet.search.study import Evaluation, Execution, reward_of, search
from heads.structures import UserError

STUDY = "study.sqlite"
_SHORT = {"conv": "C", "separable": "S", "mbconv": "M", "fused": "F"}
UNITS = {"gmacs": "GMACs", "latency": "ms"}


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """What is searched and how: the keys of ``conf/search.yaml`` by name."""

    algorithm: Literal["ppo", "reinforce", "evolution", "random"]
    """Who proposes the candidates."""
    trials: Annotated[int, "1.."]
    """Candidates in all; may be raised later, on resume."""
    batch: Annotated[int, "1.."]
    """Candidates between two updates of the algorithm; as many can be trained at a time."""
    reward: Literal["soft", "hard"]
    """Accuracy · (cost / target)^w; soft: w = -0.07. hard: w = 0 up to the target, -1 above it."""
    cost: Literal["gmacs", "latency"]
    """Multiply-adds of the whole model, counted, or milliseconds of an image, measured here between the trainings."""
    target: Annotated[float, "0.000001.."] | None
    """Target cost, in 10^9 multiply-adds or milliseconds; null is that of the base."""
    base_phi: Annotated[float, "-4..6"] | None
    """The base model is that of this phi; null takes backbone= or architecture.path=."""
    space: dict[str, Any]
    evolution: dict[str, Any]
    jobs: Annotated[int, "1.."]
    """Trainings at a time, each in its own process."""
    engine: Literal["local", "ray"]
    """Where they run: this machine, or a Ray cluster (pip install 'effdet-lightning[ray]')."""
    timeout: Annotated[float, "1.."] | None
    """Seconds that one candidate may take before it counts as failed (only engine=local); null sets no limit."""
    num_classes: Annotated[int, "1.."] | None
    """Classes that costs are counted with; null is the published number."""
    runs: Annotated[int, "5.."]
    """Passes whose median is the latency, after three for warm-up."""
    threads: Annotated[int, "1.."] | None
    """CPU threads of each training and of the measured passes; null shares out the cores."""
    out: Path | None
    """The model file of the best; null is best.json in run_dir."""


class ArchitectureSearch:
    """One run of the command in `directory`."""

    def __init__(self, settings: SearchSettings, trainings: Trainings, directory: Path) -> None:
        self.config, self.trainings, self.directory = settings, trainings, directory
        self.metric = trainings.metric
        self.unit = UNITS[settings.cost]
        self.base = trainings.base()
        self.space = SearchSpace(self.base.backbone, **settings.space)
        self.table = FrontTable(self.space, self.metric, self.unit)
        self.target: float = self.cost(self.base.backbone) if settings.target is None else settings.target

    def architecture(self, spec: BackboneSpec) -> Architecture:
        return replace(self.base, name=spec.name, backbone=spec)

    def model(self, spec: BackboneSpec) -> ModelSpec:
        return self.trainings.spec(self.architecture(spec))

    def cost(self, spec: BackboneSpec) -> float:
        """In ``unit``, of the whole model with its heads."""
        if self.config.cost == "gmacs":
            return count_cost(self.model(spec)).gmacs
        device, config = self.trainings.device, self.config
        found = measure_latency(self.model(spec), device=device, runs=config.runs, threads=config.threads)
        return found.milliseconds

    def job(self, spec: BackboneSpec) -> Job:
        """The training of a candidate, with its model file written."""
        model = write_model_file(self.directory / "models" / f"{spec.name}.json", self.architecture(spec))
        run_dir = self.directory / "trials" / spec.name
        chosen = {"architecture.path": model, "run_dir": run_dir, "resume": "auto"}
        return Job(spec.name, self.trainings.overrides(chosen), run_dir)

    def settings(self) -> dict[str, Any]:
        """What decides the outcome: a study with other values is another study."""
        keys = ("algorithm", "batch", "reward", "cost", "target", "base_phi", "space", "evolution", "num_classes")
        return {**{key: getattr(self.config, key) for key in keys}, "trainings": self.trainings.described}

    def run(self) -> list[Trial]:
        config, seed = self.config, self.trainings.seed
        options = config.evolution if config.algorithm == "evolution" else {}
        searcher = make_searcher(config.algorithm, self.space.sizes, seed=seed, **options)
        evaluation = Evaluation(
            self.trainings.run, self.job, self.metric, self.cost, reward_of(config.reward, self.target)
        )
        execution = Execution(config.jobs, config.engine, config.threads, config.timeout, self.trainings.preload)
        with StudyStore(self.directory / STUDY, self.settings()) as store, self._progress(store) as notify:
            return search(
                store,
                self.space,
                searcher,
                evaluation,
                trials=config.trials,
                batch=config.batch,
                execution=execution,
                notify=notify,
            )

    @contextmanager
    def _progress(self, store: StudyStore) -> Iterator[Any]:
        """Draws the bar; gives what receives of each trial."""
        columns = (
            TextColumn("trials"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("best {task.fields[best]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        before = store.trials()
        with Progress(*columns, disable=not self.trainings.progress) as progress:
            task = progress.add_task(
                "", total=self.config.trials, completed=sum(trial.ended for trial in before), best=best_reward(before)
            )

            def notify(trial: Trial) -> None:
                trials = store.trials()
                done = sum(each.ended for each in trials)
                progress.update(task, completed=done, best=best_reward(trials))
                progress.console.print(
                    f"[{done}/{self.config.trials}] {self.line(trial)}", highlight=False, markup=False
                )

            yield notify

    def line(self, trial: Trial) -> str:
        """One trial in one line."""
        name = self.space.decode(trial.choices).name
        if trial.same_as is not None:
            return f"{name}: as trial {trial.same_as}, reward {trial.reward:.4f}"
        if trial.state != "done":
            return f"{name}: {trial.state}: {trial.error}"
        return (
            f"{name}: {self.metric} {trial.accuracy:.4f}, {trial.cost:.4g} {self.unit}, reward {trial.reward:.4f}, "
            f"{trial.seconds:.0f} s"
        )

    def write(self, trials: list[Trial]) -> Path:
        """Table, plot, ``results.json``, the model file of the best and a baseline's; returns that of the best.

        Raises:
            UserError: no candidate was trained to its end.
        """
        best = best_trial(trials)
        if best is None:
            raise UserError(f"no candidate could be trained; {self.directory / 'trials'} has their logs")
        front = pareto_front(trials)
        write_text(self.directory / "pareto.md", self.table.markdown(front))
        plot_front(
            trials, self.directory / "pareto.html", metric=self.metric, cost=f"cost, {self.unit}", target=self.target
        )
        rows = [{"name": self.space.decode(trial.choices).name, **vars(trial)} for trial in trials]
        facts = {"settings": self.settings(), "seed": self.trainings.seed, "target": self.target, "machine": machine()}
        write_json(self.directory / "results.json", {**facts, "trials": rows}, indent=1)
        spec = self.space.decode(best.choices)
        made_by = {
            "how": f"search algorithm={self.config.algorithm}, trial {best.number} of {len(trials)}",
            "base": self.base.name,
            "reward": best.reward,
            self.metric: best.accuracy,
            "cost": best.cost,
            "unit": self.unit,
            "target": self.target,
        }
        architecture = replace(self.architecture(spec), made_by=made_by)
        self._write_baseline(spec)
        return write_model_file(self.config.out or self.directory / "best.json", architecture)

    def _write_baseline(self, best: BackboneSpec) -> None:
        """``baseline.json``: the base scaled to the multiply-adds of `best`, to be trained beside it."""
        side = max(self.base.image_size)
        spec = equal_macs_baseline(
            self.base.backbone,
            lambda spec: backbone_macs(spec, side),
            target=backbone_macs(best, side),
            divisor=self.space.divisor,
        )
        made_by = {
            "how": f"{self.base.name} scaled to the multiply-adds of {best.name}",
            "gmacs": count_cost(self.model(spec)).gmacs,
            "gmacs_of_the_other": count_cost(self.model(best)).gmacs,
        }
        write_model_file(self.directory / "baseline.json", replace(self.architecture(spec), made_by=made_by))


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
