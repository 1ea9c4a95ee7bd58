"""How a training run ends other than by finishing."""

from __future__ import annotations

import signal

from heads.structures import UserError


class CheckpointError(UserError):
    """A checkpoint that could not be written or read."""


class NonFiniteError(UserError, FloatingPointError):
    """Too many steps in a row whose loss or gradient was not a finite number."""


class Interrupted(BaseException):
    """The run was asked to stop, has saved its state, and leaves.

    A BaseException, as KeyboardInterrupt is: nobody who catches Exception to carry on may carry on.
    """

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as shells report it: 143 after SIGTERM, 130 after Ctrl-C."""
        return 128 + self.signum

    @property
    def name(self) -> str:
        return signal.Signals(self.signum).name


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` is the device's or the machine's "no more memory"."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    # The CPU allocator and cuDNN raise a plain RuntimeError.
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def memory_advice(batch_size: int, image_size: tuple[int, int], precision: str, grad_checkpointing: bool) -> UserError:
    """The error of a run that did not fit, naming what to change, cheapest first."""
    fixes = [f"a smaller batch_size (now {batch_size}; or batch_size=auto)"] if batch_size > 1 else []
    if batch_size > 1:
        fixes.append("trainer.accumulate_grad_batches to keep the step's size")
    if not grad_checkpointing:
        fixes.append("grad_checkpointing=true")
    if precision.startswith("32"):
        fixes.append("trainer.precision=bf16-mixed")
    fixes.append(f"a smaller image_size (now {list(image_size)}) or backbone")
    return UserError(f"out of memory in training; try {', '.join(fixes)}")
