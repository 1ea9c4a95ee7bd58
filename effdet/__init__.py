"""effdet-lightning: detection, segmentation and driving prototypes on EfficientNet and BiFPN."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from effdet.cli.api import evaluate, train
    from effdet.inference import Predictor
    from effdet.weights import create_model, load, load_weights, save

    __version__: str

_HOMES = {
    "create_model": "effdet.weights",
    "load": "effdet.weights",
    "load_weights": "effdet.weights",
    "save": "effdet.weights",
    "Predictor": "effdet.inference",
    "evaluate": "effdet.cli.api",
    "train": "effdet.cli.api",
}

__all__ = ["Predictor", "create_model", "evaluate", "load", "load_weights", "save", "train"]


def __getattr__(name: str) -> Any:
    """The public names, imported when they are first asked for (PEP 562): ``import effdet`` costs nothing."""
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    if name == "__version__":
        from importlib.metadata import version

        return version("effdet-lightning")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
