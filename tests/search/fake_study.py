"""A study whose trainings are made up; ``python -m tests.search.fake_study FOLDER`` is killed by its sixth candidate."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from backbones.scaling import phi_spec
from backbones.spec import BackboneSpec
from effdet.search.algorithms import make_searcher
from effdet.search.costs import backbone_macs
from effdet.search.jobs import Job
from effdet.search.space import SearchSpace
from effdet.search.store import StudyStore, Trial
from effdet.search.study import Evaluation, Execution, reward_of, search
from tests.search.fake_runs import run

SPACE = SearchSpace(phi_spec(-4))
TRIALS, BATCH = 12, 4
What = Callable[[int], tuple[str, ...]]
"""Number of the candidate, in the order in which this process starts them -> more overrides."""


def passes(count: int) -> tuple[str, ...]:
    return ("do=pass",)


def study(
    directory: Path, *, algorithm: str = "ppo", workers: int = 2, what: What = passes, trials: int = TRIALS
) -> list[Trial]:
    """Goes on with the study in `directory`; each training leaves a line in ``directory/record``."""
    count = 0

    def job(spec: BackboneSpec) -> Job:
        nonlocal count
        count += 1
        value = f"value={sum(stage.kernel for stage in spec.stages) / 35}"  # larger kernels are better here
        overrides = (*what(count), value, f"record={directory / 'record'}")
        return Job(spec.name, overrides, directory / "trials" / spec.name)

    evaluation = Evaluation(run, job, "top1", lambda spec: backbone_macs(spec, 32) / 1e6, reward_of("soft", 5.0))
    with StudyStore(directory / "study.sqlite", {"algorithm": algorithm}) as store:
        return search(
            store,
            SPACE,
            make_searcher(algorithm, SPACE.sizes, seed=0),
            evaluation,
            trials=trials,
            batch=BATCH,
            execution=Execution(workers=workers, threads=1),
        )


def sixth_kills(count: int) -> tuple[str, ...]:
    return ("do=kill", f"victim={os.getpid()}") if count == 6 else ("do=pass",)


if __name__ == "__main__":
    study(Path(sys.argv[1]), workers=1, what=sixth_kills)
