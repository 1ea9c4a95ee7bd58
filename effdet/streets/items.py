"""Everything that stands on the ground of a scene, as items with an extent, and the order in which they hide each other."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from effdet.streets import cycles, furniture, houses, people, plants
from effdet.streets.actors import VEHICLES, Actor
from effdet.streets.canvas import Camera, Glow, Mark
from effdet.streets.cycles import CYCLES
from effdet.streets.labels import Label
from effdet.streets.layout import Layout
from effdet.streets.light import Light
from effdet.streets.panels import draw, visible_lamps

_LAST_HOUSE = 68.0
"""Metres: beyond stands the skyline."""


@dataclass
class Item:
    """A part of the image that is drawn as a whole."""

    extent: tuple[float, float, float, float]
    """(x0, x1, z0, z1) in metres."""
    pieces: list[tuple[int, list[Mark]]]
    """(label id, marks) in drawing order; things have one piece per instance."""
    glows: list[Glow] = field(default_factory=list)
    actor: Actor | None = None


def actor_item(actor: Actor, camera: Camera, light: Light, half_width: float) -> Item:
    """One thing (or a rider with a cycle) as marks."""
    pose = actor.pose
    first = actor.looks[0]
    if actor.kind == "vehicle":
        body = VEHICLES[first.label](first)
        far_first = sorted(body.solids, key=lambda solid: -float(pose.world(np.array(solid.middle))[2]))
        marks: list[Mark] = []
        glows: list[Glow] = []
        for solid in far_first:
            marks += draw(solid, pose, camera, light, half_width=half_width)
            if light.lit > 0.15 and (actor.speed or light.time == "dusk"):
                glows += visible_lamps(solid, pose, camera)
        return Item(actor.extent, [(first.label, marks)], glows, actor)
    if actor.kind == "person":
        who = people.body(first)
        joints = people.walking(who.height, actor.phase, actor.stride)
        marks = people.Figure(who, joints, pose, camera, light).marks(umbrella=actor.umbrella)
        return Item(actor.extent, [(first.label, marks)], [], actor)
    cycle = CYCLES[first.label](first)
    pieces = [(first.label, cycles.draw_cycle(cycle, pose, camera, light))]
    glows = []
    if actor.kind == "ridden":
        who = people.body(actor.looks[1])
        joints = people.riding(who.height, cycle, actor.phase)
        helmet = cycle.motor or actor.looks[1].identity % 3 == 0
        figure = people.Figure(who, joints, pose, camera, light, riding=True)
        pieces.append((Label.RIDER, figure.marks(helmet=helmet)))
        if light.lit > 0.15:
            if math.cos(pose.yaw) < 0:  # ahead of us is its lamp
                at, radius, colour = (0.0, cycle.bars[1] - 0.14, cycle.bars[0] + 0.12), 0.08, (255, 244, 214)
            else:
                at, radius, colour = (0.0, 0.72, -cycle.wheelbase / 2 - 0.28), 0.06, (255, 44, 30)
            spot = pose.world(np.array(at))
            depth = float(spot[2])
            glows.append((camera.project(spot), camera.size(radius, depth), colour, depth))
    return Item(actor.extent, pieces, glows, actor)


def scenery(rng: np.random.Generator, layout: Layout, half_width: float) -> list[Item]:
    """Houses, plants and furniture along the street."""
    street, camera, light = layout.street, layout.camera, layout.light
    items: list[Item] = []
    for side in (-1, 1):
        column = 0 if side < 0 else 1
        edge = street.left if side < 0 else street.right
        line = edge + side * (street.walk[column] + street.verge[column])
        items += _houses(rng, layout, side, line, half_width)
        items += _greenery(rng, layout, side, edge, line, half_width)
    for x, z, side in layout.lamps:
        at = x + float(street.centre(z))
        pieces = furniture.street_lamp(at, z, -side * 1.7, 6.4, camera, light)
        glows: list[Glow] = []
        if light.lit > 0.3:
            spot = np.array([at - side * 1.7, 6.4, z])
            glows.append((camera.project(spot), camera.size(0.24, z), (255, 214, 140), z))
        items.append(Item((at - 0.1, at + 0.1, z - 0.1, z + 0.1), pieces, glows))
    if street.crossing is not None:
        state = str(rng.choice(["red", "green", "amber"], p=[0.42, 0.45, 0.13]))
        z = street.crossing - street.crossing_half - 1.0
        for side in (-1, 1):
            if rng.random() < 0.85:
                x = street.beside(side, 0.5, z)
                reach = -3.6 if side > 0 and rng.random() < 0.5 else 0.0
                pieces, shining = furniture.traffic_light(x, z, reach, state, camera, light)
                items.append(Item((x - 0.2, x + 0.2, z - 0.1, z + 0.1), pieces, shining))
    for _ in range(int(rng.poisson(1.7))):
        side = 1 if rng.random() < 0.65 else -1
        z = 5.5 * (34 / 5.5) ** rng.random()
        x = street.beside(side, 0.55, z)
        if not street.in_crossing(z, 0.5):
            items.append(Item((x - 0.2, x + 0.2, z - 0.05, z + 0.05), furniture.sign(rng, x, z, camera, light)))
    if street.tram is not None:
        pieces = furniture.wires(street.lanes[street.tram].offset, street.slope, street.bend, camera, light)
        items.append(Item((-0.1, 0.1, 5.0, 5.2), pieces))
    for _ in range(int(rng.poisson(0.5))):
        side = 1 if rng.random() < 0.5 else -1
        z = rng.uniform(5, 20)
        x = street.beside(side, 1.0, z)
        items.append(Item((x - 0.25, x + 0.25, z - 0.2, z + 0.2), furniture.bin_(rng, x, z, camera, light)))
    return items


def _houses(rng: np.random.Generator, layout: Layout, side: int, line: float, half_width: float) -> list[Item]:
    street, camera, light = layout.street, layout.camera, layout.light
    items: list[Item] = []
    z = float(rng.uniform(-12, 0))
    gap_share = {"city": 0.08, "town": 0.25, "suburb": 0.95}[street.district]
    while z < _LAST_HOUSE:
        length = float(rng.uniform(7, 17) if street.district != "suburb" else rng.uniform(8, 13))
        z0, z1 = z, z + length
        gap = float(rng.uniform(2, 9)) if rng.random() < gap_share else 0.0
        z = z1 + gap
        if street.crossing is not None:
            low, high = street.crossing - street.crossing_half - 2.6, street.crossing + street.crossing_half + 2.6
            if z0 < high and z1 > low:
                if z0 < low and low - z0 > 5:
                    z1 = low
                else:
                    z = high
                    continue
        if z1 < 2.5:
            continue
        z0 = max(z0, 1.2)
        back = 0.0 if street.district != "suburb" else float(rng.uniform(1, 4))
        x0, x1 = line + side * back + float(street.centre(z0)), line + side * back + float(street.centre(z1))
        if gap > 3 and rng.random() < 0.6:
            a, b = line + float(street.centre(z1)), line + float(street.centre(z))
            if rng.random() < 0.5:
                colour = (84, 76, 66) if rng.random() < 0.5 else (190, 190, 186)
                pieces = furniture.fence((a, z1), (b, z), 1.3, colour, camera, light)
            else:
                pieces = furniture.wall(rng, (a, z1), (b, z), 1.5, camera, light)
            items.append(Item((min(a, b), max(a, b), z1, z), pieces))
        house = houses.House(rng, (x0, z0), (x1, z1), (float(side), 0.0), district=street.district)
        if not house.in_sight(camera, half_width):
            continue
        outer = side * house.style.depth
        extent = (min(x0, x1, x0 + outer), max(x0, x1, x0 + outer), z0, z1)
        marks = house.marks(camera, light, half_width)
        if marks:
            items.append(Item(extent, [(Label.BUILDING, marks)]))
    if street.crossing is not None:  # the far side of the crossing street
        z0 = street.crossing + street.crossing_half + 2.6
        x = line + side * 0.2 + float(street.centre(z0)) + side * 12
        # Only what can be seen past the last house before the crossing.
        near = max(3.0, street.crossing - street.crossing_half - 2.6)
        sight = abs(line) * z0 / near * (1.0 if street.district == "city" else 1.6)
        while abs(x) < min(70.0, sight):
            length = float(rng.uniform(8, 16))
            house = houses.House(rng, (x, z0), (x + side * length, z0), (0.0, 1.0), district=street.district)
            a, b = sorted((x, x + side * length))
            marks = house.marks(camera, light, half_width) if house.in_sight(camera, half_width) else []
            if marks:
                items.append(Item((a, b, z0, z0 + 3), [(Label.BUILDING, marks)]))
            x += side * (length + (rng.uniform(2, 6) if rng.random() < gap_share else 0))
    return items


def _greenery(
    rng: np.random.Generator, layout: Layout, side: int, edge: float, line: float, half_width: float
) -> list[Item]:
    street, camera, light = layout.street, layout.camera, layout.light
    items: list[Item] = []
    if rng.random() < {"city": 0.5, "town": 0.55, "suburb": 0.8}[street.district]:
        spacing, height = rng.uniform(7, 13), rng.uniform(5, 9.5)
        z = rng.uniform(4.5, 12)
        while z < 60:
            place = edge + side * 0.9 if street.district != "suburb" else line - side * rng.uniform(0.3, 1.5)
            if not street.in_crossing(z, 3.0) and rng.random() < 0.82:
                x = place + float(street.centre(z))
                tall, own = height * rng.uniform(0.85, 1.15), _own(rng)
                if abs(x) - tall * 0.6 < half_width * z / camera.focal:
                    marks = plants.tree(own, x, z, camera, light, autumn=street.autumn, height=tall)
                    items.append(Item((x - 0.3, x + 0.3, z - 0.3, z + 0.3), [(Label.VEGETATION, marks)]))
            z += spacing * rng.uniform(0.8, 1.3) * (1 + z / 60)
    verge = street.verge[0 if side < 0 else 1]
    if verge and rng.random() < 0.6:
        z = rng.uniform(3.5, 8)
        while z < 40:
            if not street.in_crossing(z, 3.5) and rng.random() < 0.7:
                x = line - side * 0.6 + float(street.centre(z))
                own = _own(rng)
                if abs(x) - 2 < half_width * z / camera.focal:
                    marks = plants.bush(own, x, z, own.uniform(0.7, 1.5), camera, light, autumn=street.autumn)
                    items.append(Item((x - 0.5, x + 0.5, z - 0.4, z + 0.4), [(Label.VEGETATION, marks)]))
            z += rng.uniform(1.0, 2.6) * (1 + z / 25)
    return items


def _own(rng: np.random.Generator) -> np.random.Generator:
    """A generator for one plant, so that leaving it out changes nothing else."""
    return np.random.Generator(np.random.Philox(int(rng.integers(2**31))))


def back_to_front(items: list[Item]) -> list[Item]:
    """Items in painter's order. Where two overlap in depth, the one nearer to the camera's axis hides the other."""
    if not items:
        return []
    extent = np.array([item.extent for item in items])
    x0, x1, z0, z1 = extent.T
    middle = (z0 + z1) / 2
    nearer = z1[:, None] <= z0[None] + 1e-6
    further = nearer.T
    beside = ~(nearer | further)
    inner = ((x1[:, None] <= x0[None] + 0.05) & (x0[None] > 0)) | ((x0[:, None] >= x1[None] - 0.05) & (x1[None] < 0))
    undecided = beside & ~inner & ~inner.T
    front = nearer | (beside & inner & ~inner.T) | (undecided & (middle[:, None] < middle[None]))
    # front[i, j]: i must be drawn after j. Repeatedly take the farthest item with nothing left to wait for.
    waiting = front.sum(1).astype(float)
    done = np.zeros(len(items), bool)
    order: list[Item] = []
    for _ in items:
        free = (waiting <= 0) & ~done
        pool = free if free.any() else ~done  # a ring of three can wait for itself: break it at the farthest
        chosen = int(np.argmax(np.where(pool, middle, -np.inf)))
        done[chosen] = True
        waiting -= front[:, chosen]
        order.append(items[chosen])
    return order
