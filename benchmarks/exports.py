"""Exported files against the model that they came from: size, and time of one image in one run.

    python -m benchmarks.exports MODEL FILE [FILE …] [--threads 1 2] [--rounds 30]

MODEL is what ``effdet.load`` reads. A turn is one image that lies on the canvas as uint8 -> its boxes in input pixels,
NMS included wherever it runs. All files and the model take turns in one process for each number of threads; the table has
the least and the median of a file's turns, in ms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import effdet
from effdet.inference.runtime_model import RuntimeModel
from effdet.model import fold
from heads.protocol import Context


def main() -> None:
    options = _options()
    if options.worker is not None:
        print(json.dumps(timed(options.model, options.files, threads=options.worker, rounds=options.rounds)))
        return
    columns = {threads: _in_process(options, threads) for threads in options.threads}
    print("| file | MB |" + "".join(f" {threads} threads: least / median ms |" for threads in columns))
    print("|---|---|" + "---|" * len(columns))
    for name in next(iter(columns.values())):
        path = Path(name)
        size = f"{sum(part.stat().st_size for part in _parts(path)) / 1e6:.1f}" if path.exists() else ""
        times = "".join(
            f" {least:.1f} / {median:.1f} |" for least, median in (column[name] for column in columns.values())
        )
        print(f"| {path.name} | {size} |{times}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exports", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("files", nargs="*")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def _in_process(options: argparse.Namespace, threads: int) -> dict[str, tuple[float, float]]:
    """Thread pools are set up once in a process, so each number of threads has one of its own."""
    command = [sys.executable, "-m", "benchmarks.exports", options.model, *options.files]
    command += ["--worker", str(threads), "--rounds", str(options.rounds)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {name: (least, median) for name, (least, median) in json.loads(found.splitlines()[-1]).items()}


def timed(model: str, files: list[str], *, threads: int, rounds: int) -> dict[str, tuple[float, float]]:
    """{file: (least, median) ms}; the model itself, folded, is ``PyTorch``."""
    torch.set_num_threads(threads)
    network = effdet.load(model)
    height, width = network.preprocess.size
    canvas = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, height, width), dtype=np.uint8))
    sides = {"PyTorch": _turn(fold(network).to(memory_format=torch.channels_last), canvas)}
    sides |= {name: _turn(RuntimeModel.open(name, threads=threads), canvas) for name in files}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 3):
        for name, turn in sides.items():
            started = time.perf_counter()
            turn()
            if number >= 3:  # the first turns allocate and choose kernels
                times[name].append((time.perf_counter() - started) * 1e3)
    return {name: (min(values), statistics.median(values)) for name, values in times.items()}


def _turn(model: torch.nn.Module, canvas: torch.Tensor) -> Callable[[], object]:
    network: effdet.model.VisionModel = model  # type: ignore[assignment]  # all have its interface
    if not isinstance(model, RuntimeModel):
        canvas = canvas.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def turn() -> object:
        return network.predict(network(network.preprocess.normalise(canvas)), Context.of(canvas))

    return turn


def _parts(path: Path) -> list[Path]:
    beside = path.with_suffix(".bin")
    return [path, beside] if path.suffix == ".xml" and beside.exists() else [path]


if __name__ == "__main__":
    main()
