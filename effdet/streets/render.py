"""From parameters to pixels: one image with its label map, instances and boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import cv2
import numpy as np

from effdet.streets.actors import Actor, make_actors
from effdet.streets.canvas import Canvas, Glow, circle
from effdet.streets.ground import ground_marks, light_ground
from effdet.streets.items import Item, actor_item, back_to_front, scenery
from effdet.streets.labels import THINGS, Label
from effdet.streets.layout import Layout, make_layout
from effdet.streets.rng import generator
from effdet.streets.sky import paint_sky, skyline
from effdet.streets.weather import add_glow, develop, mirror_ground, rain, roughen

_FIRST = 1000
"""Values of the label canvas from here on are instances; below they are label ids."""
_REFERENCE = 256
"""Rows at which is decided who is seen well enough to be in the scene, whatever the asked size."""
_MIN_PIXELS = 26
_MIN_SIDE = 4
_MIN_SHARE = 0.13
_SQUARE = np.array([[-1, 0, -1], [1, 0, -1], [1, 0, 1], [-1, 0, 1]], float)
"""Corners about an origin on the ground."""


@dataclass(frozen=True)
class Scene:
    """One drawn image. Boxes are xyxy float32 in its pixels, tight around each instance's visible pixels."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    label_ids: np.ndarray
    """(H, W) uint8 Cityscapes ids."""
    instance_ids: np.ndarray
    """(H, W) uint16: id * 1000 + n for things, the id for the rest."""
    boxes: np.ndarray
    """(N, 4) float32."""
    labels: np.ndarray
    """(N,) int64 Cityscapes ids."""
    instances: np.ndarray
    """(N,) int64 value of each object in `instance_ids`."""
    occlusion: np.ndarray
    """(N,) float32: the share of the object within the image that others hide."""
    identities: np.ndarray
    """(N,) int64: who it is (see `looks`)."""
    weather: str
    time: str


def size_of(size: int | tuple[int, int]) -> tuple[int, int]:
    """An int or (H, W) -> (H, W), checked."""
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 32 or max(height, width) > 8192:
        raise ValueError(f"size={size} must lie within 32…8192 pixels a side: give one int or [H, W]")
    return int(height), int(width)


def scene(seed: int, split: str, index: int, size: int | tuple[int, int] = 256) -> Scene:
    """Image `index` of a split: a function of only (seed, split, index), rasterised at `size`."""
    layout = make_layout(seed, split, index)
    people = make_actors(generator(seed, split, index, "actors"), seed, split, layout)
    return render(layout, people, size, (seed, split, index))


def _stamp(items: list[Item], canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
    """Draw the label canvas, numbering things in drawing order; count each thing's own and its visible pixels."""
    full: list[int] = []
    height, width = canvas.ids.shape
    for item in items:
        for label, marks in item.pieces:
            if label not in THINGS:
                canvas.stamp(marks, label)
                continue
            value = _FIRST + len(full)
            canvas.stamp(marks, value)
            points = np.concatenate([mark.points.reshape(-1, 2) for mark in marks if mark.mask] or [np.zeros((1, 2))])
            reach = max((mark.width for mark in marks), default=0.0) * height + 2
            low = np.floor(points.min(0) * height + [width / 2, 0] - reach).astype(int)
            high = np.ceil(points.max(0) * height + [width / 2, 0] + reach).astype(int)
            part = canvas.ids[max(0, low[1]) : max(0, high[1]), max(0, low[0]) : max(0, high[0])]
            full.append(int(np.count_nonzero(part == value)))
    counts = np.bincount(canvas.ids.reshape(-1), minlength=_FIRST + len(full))
    return np.array(full, int), counts[_FIRST:]


def _fair(items: list[Item], height: int, width: int) -> list[Item]:
    """The items without the things that are too small or too hidden to be fair to ask for."""
    canvas = Canvas(_REFERENCE, max(1, round(_REFERENCE * width / height)), colour=False)
    first = next((place for place, item in enumerate(items) if item.actor is not None), len(items))
    full, visible = _stamp(items[first:], canvas)  # what lies behind the farthest thing hides nothing
    good = (visible >= _MIN_PIXELS) & (visible >= _MIN_SHARE * full)
    number = 0
    kept: list[Item] = []
    for item in items:
        if item.actor is None:
            kept.append(item)
            continue
        count = len(item.pieces)
        own = range(number, number + count)
        if good[own].all() and all(_shorter_side(canvas.ids == _FIRST + each) >= _MIN_SIDE for each in own):
            kept.append(item)
        number += count
    return kept


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 around the pixels of a mask that has some."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _shorter_side(mask: np.ndarray) -> int:
    x1, y1, x2, y2 = _box(mask)
    return min(x2 - x1, y2 - y1)


def _shadow(items: list[Item], layout: Layout, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) float32 0…1 each: what hides the sun from the ground, and what hides the sky."""
    light, camera = layout.light, layout.camera
    hard, soft = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    sx, sy, sz = light.sun
    scale = height * 16

    def fill(target: np.ndarray, ground: np.ndarray, value: int) -> None:
        if ground[:, 2].max() < 1.2:
            return
        ground[:, 2] = np.maximum(ground[:, 2], 1.0)
        flat = camera.project(ground) * scale + [width * 8, 0]
        cv2.fillConvexPoly(target, cv2.convexHull(np.rint(flat).astype(np.int32)), value, cv2.LINE_AA, 4)

    for item in items:
        x0, x1, z0, z1 = item.extent
        if item.actor is not None:
            actor = item.actor
            grow = 1.0 if actor.kind == "vehicle" else 0.8
            corners = _SQUARE * [actor.width / 2 * grow, 0, actor.length / 2 * grow]
            base = actor.pose.world(corners)
            fill(soft, base.copy(), 255)
            tall = {"vehicle": 1.4, "person": 1.7, "cycle": 0.9, "ridden": 1.6}[actor.kind]
            if actor.kind == "vehicle" and actor.length > 6:
                tall = 3.0
            slim = base if actor.kind == "vehicle" else actor.pose.world(corners * [0.5, 0, 0.8])
        elif item.pieces[0][0] in (Label.VEGETATION, Label.POLE) and x1 - x0 < 1.5:
            tree = item.pieces[0][0] == Label.VEGETATION
            tall = 5.0 if tree else 4.0
            middle = np.array([(x0 + x1) / 2, 0, (z0 + z1) / 2])
            slim = middle + _SQUARE * 0.12
            if tree:
                ring = np.insert(circle(12), 1, 0.0, axis=1)
                reach = min(tall / max(sy, 0.12), 22.0)
                fill(hard, middle + [-sx * reach, 0, -sz * reach] + ring * 1.9, 200)
                fill(soft, middle + ring * 1.2, 70)
        elif item.pieces[0][0] == Label.BUILDING:
            tall = 9.0
            slim = np.array([[x0, 0, z0], [x1, 0, z0], [x1, 0, z1], [x0, 0, z1]])
        else:
            continue
        reach = min(tall / max(sy, 0.12), 30.0)
        fill(hard, np.concatenate([slim, slim + [-sx * reach, 0, -sz * reach]]), 255)
    hard = cv2.GaussianBlur(hard, (0, 0), max(0.5, height * 0.0016))
    soft = cv2.GaussianBlur(soft, (0, 0), max(0.8, height * 0.006))
    return hard.astype(np.float32) * (0.94 / 255), soft.astype(np.float32) * (0.85 / 255)


def render(
    layout: Layout,
    people: list[Actor],
    size: int | tuple[int, int],
    key: tuple[int, str, int],
    *,
    frame: int = 0,
    numbers: Sequence[tuple[int, ...]] | None = None,
) -> Scene:
    """Draw a layout with its things.

    Args:
        key: (seed, split, index): seeds the scenery's details and the camera's grain.
        frame: seeds the grain and the rain besides, so that they differ between the frames of a video.
        numbers: the instance ids of each of `people`, for a video. Without them things that are hardly seen are left
            out of the image, and the others are numbered by class.
    """
    height, width = size_of(size)
    seed, split, index = key
    camera, light = layout.camera, layout.light
    half_width = width / height / 2
    items = scenery(generator(seed, split, index, "scenery"), layout, half_width)
    fair = numbers is None
    items += [actor_item(actor, camera, light, half_width) for actor in people]
    items = back_to_front(items)
    if fair:
        items = _fair(items, height, width)

    canvas = Canvas(height, width)
    paint_sky(canvas, generator(seed, split, index, "sky"), layout)
    canvas.ids[:] = Label.SKY
    base = [
        *skyline(generator(seed, split, index, "skyline"), layout),
        *ground_marks(generator(seed, split, index, "ground"), layout),
    ]
    canvas.paint(mark for _, mark in base)
    for label, marks in groupby(base, key=lambda pair: pair[0]):
        canvas.stamp([mark for _, mark in marks], label)
    light_ground(canvas, generator(seed, split, index, "grain"), layout, *_shadow(items, layout, height, width))
    for item in items:
        for _, marks in item.pieces:
            canvas.paint(marks)
    full, visible = _stamp(items, canvas)
    glows = _shining(items, canvas)

    chosen = _numbers(items, people, numbers)
    label_ids, instance_ids = _cityscapes(canvas.ids, chosen)
    image = cv2.resize(canvas.colour, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    image = roughen(image, label_ids, generator(seed, split, index, "rough"), light)
    if light.wet > 0.05:
        image = mirror_ground(image, label_ids, light, camera.horizon)
    image = np.ascontiguousarray(image, np.float32)
    add_glow(image, glows, light)
    air = generator(seed, split, index, "camera", frame)
    if light.weather == "rain":
        rain(image, air, light)
    rendered = develop(image, air, light)
    least = 1 if fair else round(_MIN_PIXELS * (height / _REFERENCE) ** 2)
    looks = [who for item in items if item.actor is not None for who in item.actor.looks]
    rows: list[tuple[int, tuple[int, int, int, int], float, int]] = []
    for number, who, own, shown in zip(chosen, looks, full.tolist(), visible.tolist(), strict=True):
        if shown >= least:
            rows.append((number, _box(instance_ids == number), 1.0 - shown / max(1, own), who.identity))
    rows.sort(key=lambda row: row[0])
    numbers_shown, boxes, occlusion, identities = zip(*rows, strict=True) if rows else ((), (), (), ())
    instances = np.array(numbers_shown, np.int64)
    return Scene(
        rendered,
        label_ids,
        instance_ids,
        np.array(boxes, np.float32).reshape(-1, 4),
        instances // 1000,
        instances,
        np.array(occlusion, np.float32),
        np.array(identities, np.int64),
        light.weather,
        light.time,
    )


def _shining(items: list[Item], canvas: Canvas) -> list[Glow]:
    """The lamps that nothing hides: those where the label canvas shows their own item."""
    found: list[Glow] = []
    number = _FIRST
    for item in items:
        own = {label for label, _ in item.pieces if label not in THINGS}
        things = sum(label in THINGS for label, _ in item.pieces)
        own |= set(range(number, number + things))
        number += things
        for glow in item.glows:
            column, row = int(glow[0][0] * canvas.height + canvas.width / 2), int(glow[0][1] * canvas.height)
            around = canvas.ids[max(0, row - 1) : max(0, row + 2), max(0, column - 1) : max(0, column + 2)]
            if around.size == 0 or own.intersection(around.reshape(-1).tolist()):
                found.append(glow)
    return found


def numbered(actors: Sequence[Actor]) -> list[tuple[int, ...]]:
    """The instance ids of each actor's things, counted by class from 0."""
    counters: Counter[int] = Counter()
    numbers: list[tuple[int, ...]] = []
    for actor in actors:
        ids: list[int] = []
        for who in actor.looks:
            ids.append(who.label * 1000 + counters[who.label])
            counters[who.label] += 1
        numbers.append(tuple(ids))
    return numbers


def _numbers(items: list[Item], people: list[Actor], passed: Sequence[tuple[int, ...]] | None) -> list[int]:
    """The instance id of each thing, in drawing order."""
    drawn = [item.actor for item in items if item.actor is not None]
    if passed is None:
        there = {id(actor) for actor in drawn}
        people = [actor for actor in people if id(actor) in there]
        passed = numbered(people)
    by_actor = {id(actor): ids for actor, ids in zip(people, passed, strict=True)}
    return [number for actor in drawn for number in by_actor[id(actor)]]


def _cityscapes(ids: np.ndarray, numbers: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """The label canvas's drawing numbers -> (label ids uint8, instance ids uint16)."""
    things = np.array(numbers, np.int64)
    stuff = np.arange(_FIRST, dtype=np.int64)
    label_ids = np.concatenate([stuff, things // 1000])[ids].astype(np.uint8)
    return label_ids, np.concatenate([stuff, things])[ids].astype(np.uint16)
