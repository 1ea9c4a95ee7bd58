"""Where in a run a checkpoint stands, and Lightning's counters for that place.

Lightning saves its loops' counters as they happen to be in the hook that saves, and works out on restart which of half a
dozen hooks that was. We save at a few kinds of place only, and write the counters that mean exactly that place:

    in mid-epoch          `batch` batches of `epoch` are consumed; an evaluation due there is still to run
    after an evaluation   the same, and the evaluation has been
    between epochs        `epoch` is the next one and `batch` is 0
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any, Self

from effdet.training.lightning_internals import set_saved_step


@dataclass(frozen=True)
class ResumePoint:
    """A place in a run, on the border of two optimiser steps."""

    epoch: int
    """Epochs finished."""
    batch: int
    """Batches of the current epoch that one process has consumed."""
    evaluated: bool = False
    """Whether an evaluation that is due at this place has already run."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        return cls(int(values["epoch"]), int(values["batch"]), bool(values["evaluated"]))


def loop_state(state: dict[str, Any], resume_point: ResumePoint, *, steps: int, epoch_batches: int) -> dict[str, Any]:
    """Lightning's state of its fit loop, rewritten to mean `resume_point`.

    Args:
        state: ``checkpoint["loops"]["fit_loop"]`` as Lightning made it.
        steps: optimiser steps taken.
        epoch_batches: batches of an epoch.
    """
    state = deepcopy(state)
    begun = resume_point.batch > 0
    state["epoch_progress"] = _progress(ready=resume_point.epoch + begun, processed=resume_point.epoch)
    batches = state["epoch_loop.batch_progress"]
    consumed = batches["total"]["ready"]
    batches["total"] = _counts(consumed, consumed)
    batches["current"] = _counts(resume_point.batch, resume_point.batch)
    batches["is_last_batch"] = resume_point.batch >= epoch_batches
    # An evaluation that was started and not processed is one that Lightning goes back to.
    pending = int(begun and not resume_point.evaluated)
    state["epoch_loop.val_loop.batch_progress"] |= _progress(ready=pending, processed=0)
    state["epoch_loop.val_loop.batch_progress"]["is_last_batch"] = False
    set_saved_step(state["epoch_loop.state_dict"], steps)
    return state


def _progress(*, ready: int, processed: int) -> dict[str, dict[str, int]]:
    return {"total": _counts(ready, processed), "current": _counts(ready, processed)}


def _counts(ready: int, processed: int) -> dict[str, int]:
    return {"ready": ready, "started": ready, "processed": processed, "completed": processed}
