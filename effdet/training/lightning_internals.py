"""What this project uses of Lightning that has no public name; ``tests/test_internals.py`` names the versions checked.

No other module touches a private name of Lightning; :mod:`backbones.torch_internals` does so for PyTorch.
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer

_STEPPED = "_batches_that_stepped"


def set_logged_step(trainer: Trainer, step: int) -> None:
    """The x axis of Lightning's own logs. Lightning adds one to it for an evaluation that a resume repeats."""
    setattr(trainer.fit_loop.epoch_loop, _STEPPED, step)


def set_saved_step(epoch_loop_state: dict[str, Any], step: int) -> None:
    """The same number in ``checkpoint["loops"]["fit_loop"]["epoch_loop.state_dict"]``."""
    epoch_loop_state[_STEPPED] = step


def is_within_step(trainer: Trainer) -> bool:
    """Whether the batch that has just been used is not the last one of its optimiser step (gradients are accumulated)."""
    return trainer.fit_loop._should_accumulate()


def clear_validation_interval(trainer: Trainer) -> None:
    """``val_check_batch`` holds from now on, whatever length of time ``val_check_interval`` asked for."""
    trainer._val_check_time_interval = None  # type: ignore[attr-defined]
