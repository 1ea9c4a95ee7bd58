"""One search: what the words of `effdet search` mean to the search room, and what is written at its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from backbones.scaling import BackboneSpec
from effdet.cli.assemble import torch_device
from effdet.cli.base_model import base_of, spec_of, training_of
from effdet.cli.config import Config
from effdet.cli.handed_on import candidate_words, split
from effdet.cli.search_tables import FrontTable, best_reward
from effdet.cli.trial import PRELOAD, QUIET, train_words
from effdet.cli.words import Words
from effdet.evaluation.results import write_json
from effdet.files import write_text
from effdet.model import Architecture, ModelSpec, count_cost, write_model_file
from effdet.search.algorithms import make_searcher
from effdet.search.baseline import equal_macs_baseline
from effdet.search.executor import Job
from effdet.search.macs import backbone_macs
from effdet.search.measure import machine, measure_latency
from effdet.search.pareto import best_trial, pareto_front, plot_front
from effdet.search.reward import reward_of
from effdet.search.space import SearchSpace
from effdet.search.store import StudyStore, Trial
from effdet.search.study import Evaluation, Execution, search
from heads.structures import UserError

STUDY = "study.sqlite"
UNITS = {"gmacs": "GMACs", "latency": "ms"}


class ArchitectureSearch:
    """One run of the command: what the words mean to the search room."""

    def __init__(self, config: Config, words: Words, folder: Path) -> None:
        self.config, self.words, self.folder = config, words, folder
        self.training = training_of(config)
        self.metric: str = self.training.task.monitor
        self.unit = UNITS[config.cost]
        self.base = base_of(config)
        self.space = SearchSpace(self.base.backbone, fused=config.space.fused, divisor=config.space.divisor)
        self.table = FrontTable(self.space, self.metric, self.unit)
        self.target: float = self.cost(self.base.backbone) if config.target is None else config.target

    def architecture(self, spec: BackboneSpec) -> Architecture:
        return replace(self.base, name=spec.name, backbone=spec)

    def model(self, spec: BackboneSpec) -> ModelSpec:
        return spec_of(self.training, self.architecture(spec), self.config.num_classes)

    def cost(self, spec: BackboneSpec) -> float:
        """In ``unit``, of the whole model with its heads."""
        if self.config.cost == "gmacs":
            return count_cost(self.model(spec)).gmacs
        device = torch_device(self.training.device)
        found = measure_latency(self.model(spec), device=device, runs=self.config.runs, threads=self.config.threads)
        return found.milliseconds

    def job(self, spec: BackboneSpec) -> Job:
        """The training of a candidate, with its model file written."""
        model = write_model_file(self.folder / "models" / f"{spec.name}.json", self.architecture(spec))
        run_dir = self.folder / "trials" / spec.name
        chosen = {"architecture.path": model, "run_dir": run_dir, "resume": "auto"}
        return Job(spec.name, candidate_words("search", self.words, chosen, unless=QUIET), run_dir)

    def settings(self) -> dict[str, Any]:
        """What decides the outcome: a study with other values is another study."""
        _, rest = split("search", self.words)
        keys = ("algorithm", "batch", "reward", "cost", "target", "base_phi", "space", "evolution", "num_classes")
        return {**{key: self.config.get(key) for key in keys}, "trainings": rest.shown()}

    def run(self) -> list[Trial]:
        config, seed = self.config, self.training.seed
        options = config.get("evolution") if config.algorithm == "evolution" else {}
        searcher = make_searcher(config.algorithm, self.space.sizes, seed=seed, **options)
        evaluation = Evaluation(train_words, self.job, self.metric, self.cost, reward_of(config.reward, self.target))
        execution = Execution(config.jobs, config.engine, config.threads, config.timeout, PRELOAD)
        with StudyStore(self.folder / STUDY, self.settings()) as store, self._progress(store) as notify:
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
        """Draws the bar; gives what is told of each trial."""
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
        with Progress(*columns, disable=not self.training.progress) as progress:
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
        """One trial in a few words."""
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
            raise UserError(f"no candidate could be trained; {self.folder / 'trials'} has their logs")
        front = pareto_front(trials)
        write_text(self.folder / "pareto.md", self.table.markdown(front))
        plot_front(
            trials, self.folder / "pareto.png", metric=self.metric, cost=f"cost, {self.unit}", target=self.target
        )
        rows = [{"name": self.space.decode(trial.choices).name, **vars(trial)} for trial in trials]
        facts = {"settings": self.settings(), "seed": self.training.seed, "target": self.target, "machine": machine()}
        write_json(self.folder / "results.json", {**facts, "trials": rows}, indent=1)
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
        return write_model_file(self.config.out or self.folder / "best.json", architecture)

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
        write_model_file(self.folder / "baseline.json", replace(self.architecture(spec), made_by=made_by))
