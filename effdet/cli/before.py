"""What is looked at before any work: that images can be decoded, and how many objects an image holds."""

from __future__ import annotations

import math

import numpy as np

from effdet.cli.config import Config
from effdet.cli.run import is_first
from effdet.data import DataError, Dataset
from effdet.data.images import OnError
from effdet.data.preflight import cut_off, report, undecodable, without_undecodable
from effdet.tasks import kit_for

USUAL = 100
"""Detections of an image, as COCO counts them."""


def decoded(config: Config, train: Dataset | None, val: Dataset) -> Dataset:
    """`val`, whose every image can be decoded.

    Args:
        config: says what becomes of others.
        train: looked at as well; None where it has been, before the run was interrupted or by another process.
        val: the split to evaluate on.

    Raises:
        DataError: images of either split cannot be decoded, and ``data.unreadable`` is ``error``; both splits in one.
    """
    on_error = _on_error(config)
    found = {"val": (val, undecodable(val))}
    if train is not None:
        found = {"train": (train, cut_off(train)), **found}
    becomes = {
        "train": "what is there of them is learnt from, the rest left blank",
        "val": "they are left out of every evaluation",
    }
    lines = [
        report(source, broken, on_error, becomes=becomes[name]) for name, (source, broken) in found.items() if broken
    ]
    _say(lines, on_error)
    return without_undecodable(val, found["val"][1])


def decoded_split(config: Config, source: Dataset) -> Dataset:
    """`source`, a split to evaluate on, without the images that cannot be decoded.

    Raises:
        DataError: there are some, and ``data.unreadable`` is ``error``.
    """
    on_error, found = _on_error(config), undecodable(source)
    if found:
        _say(
            [report(source, found, on_error, becomes="they are left out, and their objects are not counted")], on_error
        )
    return without_undecodable(source, found)


def _on_error(config: Config) -> OnError:
    return config.get("data.unreadable", "error")


def _say(lines: list[str], on_error: OnError) -> None:
    if lines and on_error == "error":
        raise DataError("\n".join(lines))
    if is_first():
        for line in lines:
            print(f"warning: {line}")


def following(config: Config, val: Dataset) -> Config:
    """`config` with ``max_detections`` large enough for the fullest image of `val`, where the user leaves it open."""
    capped = any("max_detections" in kit_for(name).postprocess_keys for name in config.get("head"))
    if config.get("max_detections") is not None or not capped or "boxes" not in val.labelled:
        return config
    table = val.records
    owners = np.repeat(np.arange(len(table)), np.diff(table.starts))
    counts = np.bincount(owners[~table.crowd], minlength=len(table))
    most = int(counts.max(initial=0))
    if most <= USUAL:
        return config
    cap = math.ceil(most / USUAL) * USUAL
    if is_first():
        print(
            f"max_detections={cap}: an image of val holds {most} objects. COCO's numbers count at most {USUAL} of a class in "
            f"an image; where there are more, AP@N beside them counts N"
        )
    return config.replacing({"max_detections": cap})
