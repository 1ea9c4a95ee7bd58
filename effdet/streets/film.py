"""Videos with known identities over time: a camera that stands at the kerb of a straight street, things that move past.

For testing trackers: an object keeps its instance id over all frames, while hidden too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from effdet.streets.actors import Actor, make_actors
from effdet.streets.layout import make_layout
from effdet.streets.render import Scene, numbered, render, size_of
from effdet.streets.rng import generator

_SPEED = 5.5
"""m/s of all that drives: one speed, so that nothing in a lane runs into the next."""
_NEAREST = 2.6
"""Metres: what comes nearer than this has left the image."""


def video(
    seed: int = 0,
    frames: int = 60,
    size: int | tuple[int, int] = 256,
    *,
    index: int = 0,
    rate: float = 10.0,
    split: str = "test",
) -> Iterator[Scene]:
    """The frames of a video as scenes.

    Args:
        seed: of the cast and the street; `index` chooses among the seed's videos.
        frames: how many.
        size: pixels of a side, or (H, W).
        rate: frames per second of the scene's time.
        split: whose identities appear.
    """
    size_of(size)
    if frames < 1 or rate <= 0:
        raise ValueError(f"frames={frames} must be at least 1 and rate={rate} above 0")
    key = (seed, split, 1_000_000 + index)  # no image of the set has such an index
    layout = make_layout(*key)
    layout = replace(layout, street=replace(layout.street, bend=0.0, crossing=None, zebra=None, tram=None))
    start = [
        _driving(actor)
        for actor in _arrivals(make_actors(generator(*key, "actors"), seed, split, layout), frames / rate)
    ]
    numbers = numbered(start)
    for frame in range(frames):
        now = [(actor.moved(frame / rate), ids) for actor, ids in zip(start, numbers, strict=True)]
        there = [(actor, ids) for actor, ids in now if actor.extent[2] > _NEAREST]
        yield render(layout, [actor for actor, _ in there], size, key, frame=frame, numbers=[ids for _, ids in there])


def _driving(actor: Actor) -> Actor:
    if actor.kind in ("vehicle", "ridden") and actor.speed:
        return replace(actor, speed=_SPEED)
    return actor


def _arrivals(actors: list[Actor], seconds: float) -> list[Actor]:
    """The actors, and those of each lane again, further on, so that oncoming traffic does not run dry."""
    later: list[Actor] = []
    for turn in range(1, math.ceil(seconds * _SPEED / 46.0) + 1):
        for actor in actors:
            if actor.kind == "vehicle" and actor.speed and math.cos(actor.pose.yaw) < -0.5:
                later.append(replace(actor, pose=replace(actor.pose, z=actor.pose.z + 48.0 * turn)))
    return [*actors, *later]
