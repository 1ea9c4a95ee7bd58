"""Micro-batches: grouping, order, faults, the end."""

import threading
import time

import numpy as np
import pytest

from effdet.serve.batcher import Batcher


class Slow:
    """Gives back each image's first value, after `gate` opens; notes the batches."""

    def __init__(self):
        self.gate, self.batches = threading.Event(), []

    def __call__(self, images):
        self.gate.wait(5)
        self.batches.append([int(image[0]) for image in images])
        if 99 in self.batches[-1]:
            raise ArithmeticError("99")
        return [int(image[0]) for image in images]


@pytest.fixture
def work():
    slow = Slow()
    batcher = Batcher(slow, batch_size=3, wait=0.01)
    batcher.start()
    yield slow, batcher
    slow.gate.set()
    batcher.close()


def test_those_that_wait_go_together_in_order(work):
    slow, batcher = work
    first = batcher.submit(np.array([0]))
    time.sleep(0.1)  # it is in the model now
    others = [batcher.submit(np.array([n])) for n in range(1, 6)]
    slow.gate.set()
    assert [future.result(5) for future in (first, *others)] == list(range(6))
    assert slow.batches == [[0], [1, 2, 3], [4, 5]]


def test_a_fault_is_its_image_s_alone(work):
    slow, batcher = work
    futures = [batcher.submit(np.array([n])) for n in (1, 99, 2)]
    slow.gate.set()
    assert futures[0].result(5) == 1 and futures[2].result(5) == 2
    with pytest.raises(ArithmeticError):
        futures[1].result(5)
    assert batcher.alive


def test_who_went_away_is_not_predicted(work):
    slow, batcher = work
    batcher.submit(np.array([0]))
    time.sleep(0.1)
    gone, here = batcher.submit(np.array([7])), batcher.submit(np.array([8]))
    assert gone.cancel()
    slow.gate.set()
    assert here.result(5) == 8 and [7] not in slow.batches and [8] in slow.batches


def test_closing_finishes_what_waits(work):
    slow, batcher = work
    futures = [batcher.submit(np.array([n])) for n in range(5)]
    slow.gate.set()
    batcher.close()
    assert [future.result(0) for future in futures] == list(range(5)) and not batcher.alive
    with pytest.raises(RuntimeError, match="closed"):
        batcher.submit(np.array([1]))
