"""Micro-batches: images of several requests go through the model together, in one thread of its own.

The model is never called by two threads at once, and a slow one holds up nothing but its own queue.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError

import numpy as np

from effdet.inference import Prediction

_Job = tuple[np.ndarray, "Future[Prediction]"]


class Batcher:
    """Collects images into batches; `start` before use.

    Args:
        predict: a list of (H, W, 3) uint8 RGB -> their predictions, in order.
        batch_size: most images of a batch.
        wait: maximum batching delay in seconds.
        observe: receives of each batch: images, seconds in the model.
    """

    def __init__(
        self,
        predict: Callable[[list[np.ndarray]], Sequence[Prediction]],
        *,
        batch_size: int = 8,
        wait: float = 0.005,
        observe: Callable[[int, float], None] = lambda images, seconds: None,
    ) -> None:
        self._predict, self._batch_size, self._wait, self._observe = predict, batch_size, wait, observe
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="effdet-batcher", daemon=True)
        self._lock = threading.Lock()
        self._closed = False

    @property
    def alive(self) -> bool:
        """Whether images are being worked on."""
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Finish what is queued, then end the thread."""
        with self._lock:
            self._closed = True
            self._jobs.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    def submit(self, image: np.ndarray) -> Future[Prediction]:
        """The prediction of (H, W, 3) uint8 RGB, to come. A cancelled future's image is not predicted.

        Raises:
            RuntimeError: closed.
        """
        future: Future[Prediction] = Future()
        with self._lock:  # nothing is queued behind the end
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._jobs.put((image, future))
        return future

    def _work(self) -> None:
        ended = False
        while not ended:
            batch, ended = self._next_batch()
            requested = [(image, future) for image, future in batch if future.set_running_or_notify_cancel()]
            if requested:
                self._run(requested)

    def _next_batch(self) -> tuple[list[_Job], bool]:
        """The next images, and whether they are the last."""
        first = self._jobs.get()
        if first is None:
            return [], True
        batch, deadline = [first], time.monotonic() + self._wait
        while len(batch) < self._batch_size:
            try:
                job = self._jobs.get(timeout=max(deadline - time.monotonic(), 0))
            except queue.Empty:
                break
            if job is None:
                return batch, True
            batch.append(job)
        return batch, False

    def _run(self, batch: list[_Job]) -> None:
        started = time.perf_counter()
        try:
            found = list(self._predict([image for image, _ in batch]))
            if len(found) != len(batch):
                raise RuntimeError(f"the model gave {len(found)} predictions for {len(batch)} images")
        except Exception as error:
            if len(batch) > 1:  # one image's fault is not its neighbours'
                for job in batch:
                    self._run([job])
                return
            _resolve(batch[0][1], error)
            return
        self._observe(len(batch), time.perf_counter() - started)
        for (_, future), prediction in zip(batch, found, strict=True):
            _resolve(future, prediction)


def _resolve(future: Future[Prediction], outcome: Prediction | Exception) -> None:
    try:
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
    except InvalidStateError:
        pass  # the request has ended
