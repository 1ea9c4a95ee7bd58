"""What is looked at before any work: that images can be decoded, and how many objects an image holds."""

from __future__ import annotations

import math

import numpy as np

from effdet.cli.config import Config
from effdet.cli.run import is_first
from effdet.data import DataError, Source
from effdet.data.images import Policy
from effdet.data.readable import cut_off, report, undecodable, without_undecodable
from effdet.tasks import kit_for

USUAL = 100
"""Detections of an image, as COCO counts them."""


def decoded(config: Config, train: Source | None, val: Source) -> Source:
    """`val`, whose every image can be decoded.

    Args:
        config: says what becomes of others.
        train: looked at as well; None where it has been, before the run was interrupted or by another process.
        val: the split to evaluate on.

    Raises:
        DataError: images of either split cannot be decoded, and ``data.unreadable`` is ``error``; both splits in one.
    """
    policy = _policy(config)
    found = {"val": (val, undecodable(val))}
    if train is not None:
        found = {"train": (train, cut_off(train)), **found}
    becomes = {
        "train": "what is there of them is learnt from, the rest left blank",
        "val": "they are left out of every evaluation",
    }
    lines = [
        report(source, broken, policy, becomes=becomes[name]) for name, (source, broken) in found.items() if broken
    ]
    _say(lines, policy)
    return without_undecodable(val, found["val"][1])


def decoded_split(config: Config, source: Source) -> Source:
    """`source`, a split to evaluate on, without the images that cannot be decoded.

    Raises:
        DataError: there are some, and ``data.unreadable`` is ``error``.
    """
    policy, found = _policy(config), undecodable(source)
    if found:
        _say([report(source, found, policy, becomes="they are left out, and their objects are not counted")], policy)
    return without_undecodable(source, found)


def _policy(config: Config) -> Policy:
    return config.get("data.unreadable", "error")


def _say(lines: list[str], policy: Policy) -> None:
    if lines and policy == "error":
        raise DataError("\n".join(lines))
    if is_first():
        for line in lines:
            print(f"warning: {line}")


def following(config: Config, val: Source) -> Config:
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
