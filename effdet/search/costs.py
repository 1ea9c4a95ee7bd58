"""What a model costs: multiply-accumulates from its description, and time and memory on this machine.

*Multiply-accumulates* come from a formula for each block, without building the network. A convolution does
``out_h * out_w * kernel**2 * in * out / groups`` of them, a dense layer ``in * out``. Normalisation, activations, biases,
averages and products with attention weights are not counted, as is usual.

*Time and memory* are those of one image through the folded network, from a normalised batch of one to the heads' raw outputs.
Suppression of boxes is not part of it: its time depends on what is in the image. Memory is the process's resident set in bytes;
Linux lets its peak be reset, other systems report only the peak, which is then an upper bound: it includes building the model.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import nn

from backbones.attention import eca_kernel
from backbones.scaling import BackboneSpec
from backbones.spec import StageSpec
from effdet.model import ModelSpec, build, fold
from heads.structures import UserError


def backbone_macs(spec: BackboneSpec, image_size: int) -> int:
    """Of the stem and all stages, for one image of `image_size` pixels a side."""
    side = _halved(image_size)
    total = side * side * 9 * 3 * spec.stem_channels
    width = spec.stem_channels
    for stage in spec.stages:
        total += stage_macs(stage, spec.attention_of(stage), width, side)
        side = _halved(side) if stage.stride == 2 else side
        width = stage.channels
    return total


@lru_cache(maxsize=65536)
def stage_macs(stage: StageSpec, attention: str, in_channels: int, side: int) -> int:
    """Of all blocks of `stage` on an input of `side` x `side` pixels."""
    total, width = 0, in_channels
    for repeat in range(stage.repeats):
        out_side = _halved(side) if stage.stride == 2 and repeat == 0 else side
        total += _block_macs(stage, attention, width, side * side, out_side * out_side)
        side, width = out_side, stage.channels
    return total


def _block_macs(stage: StageSpec, attention: str, narrow: int, before: int, after: int) -> int:
    """`before` and `after`: pixels of the block's input and output."""
    area, out = stage.kernel**2, stage.channels
    if stage.op == "conv":
        return after * area * narrow * out
    if stage.op == "separable":
        wide, spatial = narrow, after * area * narrow
    else:
        wide = round(narrow * stage.expansion)
        spatial = after * area * narrow * wide
        if stage.op == "mbconv":
            spatial = before * narrow * wide + after * area * wide
    weights = 0
    if attention == "se":
        weights = 2 * wide * max(1, int(narrow * stage.se_ratio))
    elif attention == "eca":
        weights = wide * eca_kernel(wide)
    return spatial + weights + after * wide * out


def _halved(side: int) -> int:
    return (side + 1) // 2


WARM_UP = 3
"""Passes before the first that counts."""
LEAST_RUNS = 5


@dataclass(frozen=True)
class Latency:
    """Time of one image."""

    milliseconds: float
    """Median."""
    quartiles: tuple[float, float]
    """Milliseconds: a quarter of the runs was faster, a quarter slower."""
    runs: int
    threads: int
    device: str

    def __str__(self) -> str:
        low, high = self.quartiles
        where = f"{self.threads} threads" if self.device == "cpu" else self.device
        return f"{self.milliseconds:.2f} ms (quartiles {low:.2f} and {high:.2f}, {self.runs} runs, {where})"


@dataclass(frozen=True)
class Memory:
    """Most memory that one image takes, weights included."""

    megabytes: float
    """10^6 bytes."""
    device: str
    how: str
    """What was read."""

    def __str__(self) -> str:
        return f"{self.megabytes:.1f} MB ({self.how})"


def measure_latency(
    spec: ModelSpec, *, device: str = "cpu", runs: int = 30, threads: int | None = None, seconds: float = 10.0
) -> Latency:
    """Median time of `runs` passes of one image through the folded model of `spec`, fresh weights, float32.

    Args:
        runs: passes that count, after ``WARM_UP`` others.
        threads: of the CPU; None is what torch takes now.
        seconds: a slow model is run fewer times (at least ``LEAST_RUNS``) to keep to this.
    """
    with _threads(threads), torch.inference_mode():
        model, images = _ready(spec, device)
        for _ in range(WARM_UP):
            _pass(model, images)
        times: list[float] = []
        while len(times) < runs and (len(times) < LEAST_RUNS or sum(times) < 1000 * seconds):
            begin = time.perf_counter()
            _pass(model, images)
            times.append(1000 * (time.perf_counter() - begin))
        low, median, high = statistics.quantiles(times, n=4, method="inclusive")
        return Latency(median, (low, high), len(times), torch.get_num_threads(), device)


def measure_memory(spec: ModelSpec, *, device: str = "cpu", threads: int | None = None) -> Memory:
    """Most memory that one image through the folded model of `spec` takes, weights included.

    On a CPU: how far a fresh process grows. On CUDA: the most that torch's allocator held.

    Raises:
        UserError: the process was ended (as the system does when memory runs out), or the device cannot be measured.
    """
    if device == "cpu":
        return Memory(_grown(spec, threads) / 1e6, device, "growth of a fresh process's resident set")
    if device.partition(":")[0] != "cuda":
        raise UserError(f"device={device}: memory is measured only on cpu and cuda")
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    with torch.inference_mode():
        model, images = _ready(spec, device)
        torch.cuda.reset_peak_memory_stats()  # building holds the weights twice
        _pass(model, images)
    return Memory((torch.cuda.max_memory_allocated() - before) / 1e6, device, "torch.cuda.max_memory_allocated")


def _ready(spec: ModelSpec, device: str) -> tuple[nn.Module, torch.Tensor]:
    model = fold(build(spec).eval()).to(device).to(memory_format=torch.channels_last)
    images = torch.zeros(1, 3, *spec.preprocess.size, device=device).contiguous(memory_format=torch.channels_last)
    return model, images


def _pass(model: nn.Module, images: torch.Tensor) -> None:
    model(images)
    if images.is_cuda:
        torch.cuda.synchronize()


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _grown(spec: ModelSpec, threads: int | None) -> int:
    """Bytes; from a child, since memory that this process has freed would hide what a model needs."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(spec.to_dict(), threads or torch.get_num_threads(), theirs))
    process.start()
    theirs.close()
    try:
        found: int = ours.recv()
    except EOFError:
        process.join()
        raise UserError(
            f"{spec.name} at {'×'.join(map(str, spec.preprocess.size))} px: the process that measured its memory ended "
            f"with exit code {process.exitcode}"
        ) from None
    process.join()
    return found


def _child(values: dict[str, Any], threads: int, answer: Connection) -> None:
    torch.set_num_threads(threads)
    with torch.inference_mode():
        # The libraries' own buffers and threads belong to no model.
        nn.Conv2d(8, 8, 3)(torch.zeros(1, 8, 8, 8))
        return_freed()
        before = resident()
        model, images = _ready(ModelSpec.from_dict(values), "cpu")
        gc.collect()
        return_freed()
        peak = peak_resident(lambda: [_pass(model, images) for _ in range(2)])
    answer.send(peak - before)
    answer.close()


def machine() -> dict[str, Any]:
    """What the measurements hold for."""
    found = {"cpu": _cpu_name(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found | {"system": platform.system()}


def _cpu_name() -> str:
    """The CPU's name on Linux; the architecture elsewhere."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text().splitlines() if table.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident() -> int:
    """Bytes now (elsewhere than on Linux: the peak so far)."""
    return _status("VmRSS") if _STATUS.is_file() else _peak_so_far()


def peak_resident(work: Callable[[], object]) -> int:
    """The most that this process holds while `work` runs."""
    if not _STATUS.is_file():
        work()
        return _peak_so_far()
    _RESET.write_text("5")  # proc(5): resets VmHWM to what is held now
    work()
    return _status("VmHWM")


def return_freed() -> None:
    """Give freed memory back to the system, where the C library can be asked to."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def _status(field: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def _peak_so_far() -> int:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
