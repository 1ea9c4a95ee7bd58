"""effdet-lightning: detection, segmentation and driving prototypes on EfficientNet and BiFPN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from effdet.lazy import lazy_names

if TYPE_CHECKING:
    from effdet.cli.app import evaluate, train
    from effdet.inference import Predictor
    from effdet.weights import create_model, load, load_weights, save

    __version__: str

__all__ = ["Predictor", "create_model", "evaluate", "load", "load_weights", "save", "train"]


_public = lazy_names(
    __name__,
    {
        "create_model": "weights",
        "load": "weights",
        "load_weights": "weights",
        "save": "weights",
        "Predictor": "inference",
        "evaluate": "cli.app",
        "train": "cli.app",
    },
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("effdet-lightning")
    return _public(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
