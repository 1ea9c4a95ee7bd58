"""Latency and memory of tiny models."""

import pytest
import torch

from effdet.model import spec_for
from effdet.search.costs import machine, measure_latency, measure_memory, peak_resident, resident, return_freed

SPEC = spec_for(task="classification", phi=-4, image_size=32, num_classes=3)


def test_latency_says_how_it_was_found():
    before = torch.get_num_threads()
    found = measure_latency(SPEC, runs=7, threads=1)
    assert found.runs == 7 and found.threads == 1 and torch.get_num_threads() == before
    assert 0 < found.quartiles[0] <= found.milliseconds <= found.quartiles[1]
    assert "ms" in str(found) and "1 threads" in str(found)


def test_a_slow_model_is_run_less_often():
    assert measure_latency(SPEC, runs=50, seconds=0.0).runs == 5


def test_a_peak_is_seen_and_reset():
    size = 64 * 2**20
    return_freed()  # else the pages that earlier tests left hold a part of it
    start = resident()
    first = peak_resident(lambda: bytearray(b"x" * size) and None)
    assert first - start > 0.9 * size
    return_freed()
    now = resident()
    assert peak_resident(lambda: None) - now < 0.5 * size


def test_memory_is_at_least_the_weights():
    larger = spec_for(task="classification", backbone="b3", image_size=128, num_classes=3)
    weights = 4e-6 * 10.7e6  # MB: B3 without its 1000 classes
    found = measure_memory(larger, threads=1)
    assert weights < found.megabytes < 10 * weights
    assert "resident set" in str(found)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda():
    assert measure_memory(SPEC, device="cuda").megabytes > 0
    assert measure_latency(SPEC, device="cuda", runs=5).device == "cuda"


def test_the_machine_is_named():
    assert {"cpu", "threads", "torch"} <= machine().keys()
