"""Weights: names, layouts, conventions, class tables, reading and writing files.

The names below are handed on when they are asked for, so that importing this package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from effdet.lazy import lazy_names

if TYPE_CHECKING:
    from effdet.weights.api import create_model, load, load_weights, save
    from effdet.weights.class_tables import class_table
    from effdet.weights.conventions import Conventions
    from effdet.weights.names import ResolvedWeights, resolve
    from effdet.weights.read import WeightsError
    from effdet.weights.report import LoadReport

__all__ = [
    "Conventions",
    "LoadReport",
    "ResolvedWeights",
    "WeightsError",
    "class_table",
    "create_model",
    "load",
    "load_weights",
    "resolve",
    "save",
]

__getattr__ = lazy_names(
    __name__,
    {
        "create_model": "api",
        "load": "api",
        "load_weights": "api",
        "save": "api",
        "class_table": "class_tables",
        "Conventions": "conventions",
        "WeightsError": "read",
        "LoadReport": "report",
        "ResolvedWeights": "names",
        "resolve": "names",
    },
)
