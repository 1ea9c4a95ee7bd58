"""Training: one LightningModule for every task, its callbacks, and :func:`fit`, which puts them together and runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from effdet.lazy import lazy_names

if TYPE_CHECKING:
    from effdet.training.checkpoints import newest_valid, read_checkpoint, valid, write_checkpoint
    from effdet.training.errors import CheckpointError, Interrupted
    from effdet.training.fitting import FitResult, fit
    from effdet.training.module import VisionModule
    from effdet.training.randomness import seed_all
    from effdet.training.settings import FitSettings

__all__ = [
    "CheckpointError",
    "FitResult",
    "FitSettings",
    "Interrupted",
    "VisionModule",
    "fit",
    "newest_valid",
    "read_checkpoint",
    "seed_all",
    "valid",
    "write_checkpoint",
]

__getattr__ = lazy_names(
    __name__,
    {
        "CheckpointError": "errors",
        "FitResult": "fitting",
        "FitSettings": "settings",
        "Interrupted": "errors",
        "VisionModule": "module",
        "fit": "fitting",
        "newest_valid": "checkpoints",
        "read_checkpoint": "checkpoints",
        "seed_all": "randomness",
        "valid": "checkpoints",
        "write_checkpoint": "checkpoints",
    },
)
