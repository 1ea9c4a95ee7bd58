"""The search itself: ask for a batch of architectures, train them, tell what they were worth; until there were enough.

What a candidate is worth is its accuracy, weighed against its cost (MnasNet, Tan et al., CVPR 2019, eq. 2 and 3):
``reward = accuracy * (cost / target) ** w`` with ``w = alpha`` up to the target and ``w = beta`` above it. A candidate that
fails, or whose training is not finite, is worth 0: less than any that learns something.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backbones.scaling import BackboneSpec
from effdet.search.algorithms import Searcher, dump_state, load_state
from effdet.search.executor import run_jobs
from effdet.search.jobs import Job, JobResult, Run
from effdet.search.space import SearchSpace
from effdet.search.store import StudyStore, Trial

FAILED = 0.0


@dataclass(frozen=True)
class Reward:
    """The paper's reward.

    Args:
        target: cost that is asked for, in whatever unit costs have.
        alpha: exponent at or below the target, not above 0.
        beta: exponent above the target, not above 0.
    """

    target: float
    alpha: float = -0.07
    beta: float = -0.07

    def __post_init__(self) -> None:
        problems = []
        if not (math.isfinite(self.target) and self.target > 0):
            problems.append(f"target must be above 0, got {self.target}")
        problems += [
            f"{name} must not be above 0, got {getattr(self, name)}"
            for name in ("alpha", "beta")
            if not getattr(self, name) <= 0
        ]
        if problems:
            raise ValueError("a reward's " + "; ".join(problems))

    def __call__(self, accuracy: float, cost: float) -> float:
        """`accuracy` in [0, 1], `cost` above 0 in the unit of `target`. Not a finite number: worth 0."""
        if not (math.isfinite(accuracy) and math.isfinite(cost)):
            return FAILED
        exponent = self.alpha if cost <= self.target else self.beta
        return accuracy * (cost / self.target) ** exponent


VARIANTS = {"soft": (-0.07, -0.07), "hard": (0.0, -1.0)}
"""Alpha and beta. Soft: doubling the cost must bring 5 % more accuracy (``1.05 * 2**-0.07 = 1``). Hard: cost below the target
counts for nothing, above it the reward falls with its inverse."""


def reward_of(variant: str, target: float) -> Reward:
    """The variant ``soft`` or ``hard`` with a target."""
    alpha, beta = VARIANTS[variant]
    return Reward(target, alpha, beta)


@dataclass(frozen=True)
class Evaluation:
    """How a candidate is evaluated."""

    run: Run
    """Runs the overrides of one training and gives its metrics; a function of a module."""
    job: Callable[[BackboneSpec], Job]
    """The training of an architecture. Its key is the architecture's name."""
    metric: str
    """Which of the metrics is the accuracy."""
    cost: Callable[[BackboneSpec], float]
    """Of an architecture; counted or measured before its batch is trained, when nothing else runs."""
    reward: Reward


@dataclass(frozen=True)
class Execution:
    """Where and how many at a time. None of it changes what is found."""

    workers: int = 1
    engine: str = "local"
    threads: int | None = None
    timeout: float | None = None
    """Seconds that one candidate may take; after that it has failed."""
    preload: Sequence[str] = ()


def search(
    store: StudyStore,
    space: SearchSpace,
    searcher: Searcher,
    evaluation: Evaluation,
    *,
    trials: int,
    batch: int,
    execution: Execution | None = None,
    notify: Callable[[Trial], None] = lambda trial: None,
) -> list[Trial]:
    """Go on with the study in `store` until it has `trials`; returns them all.

    Args:
        searcher: fresh; its state is read from the study where there is one.
        batch: candidates between two updates of the searcher. They may be trained at the same time.
        notify: called with each trial that has ended in this run.
    """
    newest = store.newest_batch()
    if newest is not None:
        load_state(searcher, newest[1])
        asked = store.trials(newest[0])
    else:
        asked = list[Trial]()
    while True:
        if asked:
            ended = _batch(store, space, evaluation, asked, execution or Execution(), notify)
            searcher.tell([trial.choices for trial in ended], [trial.reward or FAILED for trial in ended])
        left = trials - len(store.trials())
        if left <= 0:
            return store.trials()
        tokens = searcher.ask(min(batch, left))
        asked = store.add_batch(tokens, dump_state(searcher))


def _batch(
    store: StudyStore,
    space: SearchSpace,
    evaluation: Evaluation,
    asked: Sequence[Trial],
    execution: Execution,
    notify: Callable[[Trial], None],
) -> list[Trial]:
    """Bring all of `asked`, one batch, to their end."""
    number = asked[0].batch
    first: dict[BackboneSpec, int] = {}  # architecture -> the trial that trains it: no network is trained twice
    for trial in store.trials():
        first.setdefault(space.decode(trial.choices), trial.number)
    jobs, trained = list[Job](), dict[str, Trial]()
    for trial in asked:
        spec = space.decode(trial.choices)
        if not trial.ended and first[spec] == trial.number:
            if trial.cost is None:
                store.price(trial.number, evaluation.cost(spec))
            job = evaluation.job(spec)
            jobs.append(job)
            trained[job.key] = trial

    def done(result: JobResult) -> None:
        trial = trained[result.key].number
        _record(store, trial, result, evaluation)
        notify(store.trials(number)[trial - asked[0].number])

    run_jobs(
        jobs,
        evaluation.run,
        workers=execution.workers,
        engine=execution.engine,
        threads=execution.threads,
        timeout=execution.timeout,
        preload=execution.preload,
        on_done=done,
        on_start=lambda key: store.start(trained[key].number),
    )
    known = store.trials()
    for trial in store.trials(number):
        if not trial.ended:
            same = known[first[space.decode(trial.choices)]]
            store.finish(
                trial.number,
                same.state,
                reward=same.reward or FAILED,
                accuracy=same.accuracy,
                cost=same.cost,
                error=same.error,
                same_as=same.number,
            )
            notify(store.trials(number)[trial.number - asked[0].number])
    return store.trials(number)


def _record(store: StudyStore, number: int, result: JobResult, evaluation: Evaluation) -> None:
    cost = store.trials()[number].cost
    accuracy = result.metrics.get(evaluation.metric)
    if result.ok and accuracy is not None and cost is not None and math.isfinite(cost):
        reward = evaluation.reward(accuracy, cost)
        store.finish(number, "done", reward=reward, accuracy=accuracy, cost=cost, seconds=result.seconds)
        return
    # A training that ends well without a number to show for it had one that was not finite.
    state = "nan" if result.ok or result.nonfinite else "failed"
    error = result.error or f"{evaluation.metric} is not a finite number"
    store.finish(number, state, reward=FAILED, cost=cost, seconds=result.seconds, error=error)
