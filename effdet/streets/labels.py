"""The official Cityscapes ids that `streets` uses (cityscapesScripts, ``helpers/labels.py``; ids, not trainIds)."""

from __future__ import annotations

from enum import IntEnum


class Label(IntEnum):
    STATIC = 4
    ROAD = 7
    SIDEWALK = 8
    BUILDING = 11
    WALL = 12
    FENCE = 13
    POLE = 17
    TRAFFIC_LIGHT = 19
    TRAFFIC_SIGN = 20
    VEGETATION = 21
    TERRAIN = 22
    SKY = 23
    PERSON = 24
    RIDER = 25
    CAR = 26
    TRUCK = 27
    BUS = 28
    TRAIN = 31
    MOTORCYCLE = 32
    BICYCLE = 33


_NAMES = {int(label): label.name.lower().replace("_", " ") for label in Label}
STUFF: dict[int, str] = {label: name for label, name in _NAMES.items() if label < Label.PERSON}
"""Classes without instances. ``static`` (bins, benches) is ignored by the benchmark."""
THINGS: dict[int, str] = {label: name for label, name in _NAMES.items() if label >= Label.PERSON}
"""The eight classes with instances and boxes; a tram is a train, as in Cityscapes."""
