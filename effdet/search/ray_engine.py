"""Jobs as tasks of a Ray cluster (https://docs.ray.io): the same jobs on more than one machine.

Ray finds the cluster by its own ways (``RAY_ADDRESS``, ``ray start``), and makes one of this machine where there is none.
All machines must see the jobs' folders and the data under the same paths, and have this project installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from effdet.search.jobs import Job, JobResult, Run, execute, finished, one_line
from heads.structures import UserError


def run_on_ray(
    jobs: Sequence[Job],
    run: Run,
    *,
    workers: int,
    on_done: Callable[[JobResult], None],
    on_start: Callable[[str], None],
    threads: int | None = None,
) -> None:
    """See :func:`effdet.search.executor.run_jobs`."""
    ray = _ray()
    started_here = not ray.is_initialized()
    if started_here:
        ray.init(log_to_driver=False, configure_logging=False)
    try:
        # A retry would train a candidate twice that crashes the machine.
        task = ray.remote(num_cpus=threads or 1, max_retries=0, max_calls=1)(execute)
        queue, running = list(jobs), dict[Any, Job]()
        try:
            while queue or running:
                while queue and len(running) < workers:
                    job = queue.pop(0)
                    on_start(job.key)
                    running[task.remote(job, run, threads or 1)] = job
                (done,), _ = ray.wait(list(running), num_returns=1)
                on_done(_result(ray, done, running.pop(done)))
        finally:
            for reference in running:
                ray.cancel(reference, force=True)
    finally:
        if started_here:
            ray.shutdown()


def _ray() -> Any:
    try:
        import ray  # type: ignore[import-not-found]
    except ImportError:
        raise UserError("engine=ray: Ray is not installed; pip install 'effdet-lightning[ray]'") from None
    return ray


def _result(ray: Any, reference: Any, job: Job) -> JobResult:
    try:
        ray.get(reference)
    except ray.exceptions.RayError as error:  # the worker died: out of memory, a signal, its machine
        return finished(job) or JobResult(job.key, False, {}, one_line(error))
    return finished(job) or JobResult(job.key, False, {}, "ended without a result; is its folder on a shared disk?")
