"""Training: one LightningModule for every task, its callbacks, and :func:`fit`, which puts them together and runs them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from effdet.training.checkpoints import newest_sound, read_checkpoint, sound, write_checkpoint
    from effdet.training.errors import CheckpointError, Interrupted
    from effdet.training.fitting import FitResult, fit
    from effdet.training.module import VisionModule
    from effdet.training.seeding import seed_all
    from effdet.training.settings import FitSettings

_HOMES = {
    "CheckpointError": "errors",
    "FitResult": "fitting",
    "FitSettings": "settings",
    "Interrupted": "errors",
    "VisionModule": "module",
    "fit": "fitting",
    "newest_sound": "checkpoints",
    "read_checkpoint": "checkpoints",
    "seed_all": "seeding",
    "sound": "checkpoints",
    "write_checkpoint": "checkpoints",
}
__all__ = [
    "CheckpointError",
    "FitResult",
    "FitSettings",
    "Interrupted",
    "VisionModule",
    "fit",
    "newest_sound",
    "read_checkpoint",
    "seed_all",
    "sound",
    "write_checkpoint",
]


def __getattr__(name: str) -> Any:
    """Lightning takes a second to import: it is imported when one of the names above is asked for."""
    if name in _HOMES:
        value = getattr(import_module(f"effdet.training.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
