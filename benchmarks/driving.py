"""One driving model against two single-task models: what it loses in accuracy, and what one pass costs.

    for seed in 0 1 2; do
      python scripts/train.py experiment=driving_streets seed=$seed run_dir=DIR/driving-$seed
      python scripts/train.py experiment=driving_streets_detection seed=$seed run_dir=DIR/detection-$seed
      python scripts/train.py experiment=driving_streets_segmentation seed=$seed run_dir=DIR/segmentation-$seed
    done
    python -m benchmarks.driving DIR

Accuracies are those of each run's last evaluation. A pass is a batch of one val image on its canvas to boxes and segmentation
map in the image's own pixels; the models take turns on the same image.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import effdet
from effdet.evaluation import EvalBatch, ModelPredictFn
from effdet.inference import as_array
from effdet.model import fold

TASKS = {"detection": "AP", "segmentation": "mIoU"}
"""Single task -> its metric."""


@dataclass(frozen=True)
class Difference:
    """Driving minus single-task, in points, over seeds."""

    metric: str
    driving: tuple[float, ...]
    single: tuple[float, ...]

    @property
    def points(self) -> tuple[float, ...]:
        return tuple(100 * (both - single) for both, single in zip(self.driving, self.single, strict=True))

    def __str__(self) -> str:
        means = [100 * statistics.mean(values) for values in (self.driving, self.single)]
        spread = statistics.stdev(self.points) if len(self.points) > 1 else float("nan")
        each = ", ".join(f"{point:+.2f}" for point in self.points)
        return (
            f"{self.metric}: driving {means[0]:.2f}, single {means[1]:.2f}; difference {statistics.mean(self.points):+.2f} "
            f"± {spread:.2f} points (standard deviation over {len(self.points)} seeds: {each})"
        )


def seeds_of(directory: Path) -> list[str]:
    """Seeds of which all three runs are there."""
    kinds = ("driving", *TASKS)
    found = {path.name.partition("-")[2] for path in directory.glob("driving-*")}
    return sorted(
        seed for seed in found if all((directory / f"{kind}-{seed}" / "metrics.json").is_file() for kind in kinds)
    )


def differences(directory: Path, seeds: Sequence[str]) -> list[Difference]:
    def metrics(kind: str, seed: str) -> dict[str, float]:
        return json.loads((directory / f"{kind}-{seed}" / "metrics.json").read_text())

    return [
        Difference(
            metric,
            tuple(metrics("driving", seed)[metric] for seed in seeds),
            tuple(metrics(task, seed)[metric] for seed in seeds),
        )
        for task, metric in TASKS.items()
    ]


def passes(directory: Path, seed: str, image: np.ndarray, *, rounds: int) -> dict[str, list[float]]:
    """Seconds of a pass by kind of model, `rounds` of each in turns."""
    functions, batches = {}, {}
    for kind in ("driving", *TASKS):
        model = effdet.load(directory / f"{kind}-{seed}")
        canvas, geometry = model.preprocess.geometry(image)
        batches[kind] = EvalBatch(torch.from_numpy(canvas[None]).permute(0, 3, 1, 2), (geometry,), (None,), (0,))
        functions[kind] = ModelPredictFn(fold(model))
    seconds: dict[str, list[float]] = {kind: [] for kind in functions}
    for number in range(-3, rounds):
        for kind, function in functions.items():
            started = time.perf_counter()
            function(batches[kind])
            if number >= 0:
                seconds[kind].append(time.perf_counter() - started)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.driving", description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("folder", type=Path, help="holds driving-SEED, detection-SEED and segmentation-SEED")
    parser.add_argument("--image", help="of the set's val split; a grey one by default")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    seeds = seeds_of(options.directory)
    if not seeds:
        raise SystemExit(
            f"{options.directory}: no seed has all three runs, driving-SEED, detection-SEED, segmentation-SEED"
        )
    torch.set_num_threads(options.threads)
    for difference in differences(options.directory, seeds):
        print(difference)
    grey = np.full((256, 256, 3), 128, np.uint8)
    image = grey if options.image is None else as_array(options.image)
    seconds = passes(options.directory, seeds[0], image, rounds=options.rounds)
    ratios = [both / (a + b) for both, a, b in zip(*(seconds[kind] for kind in ("driving", *TASKS)), strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    times = ", ".join(f"{kind} {1000 * statistics.median(values):.1f} ms" for kind, values in seconds.items())
    print(
        f"one pass, {options.threads} thread(s), medians of {options.rounds} turns: {times}; "
        f"driving / (detection + segmentation) {middle:.3f} (quartiles {low:.3f} to {high:.3f})"
    )


if __name__ == "__main__":
    main()
