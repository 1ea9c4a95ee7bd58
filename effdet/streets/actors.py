"""The things of a scene: who is where, facing which way, looking like whom."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from effdet.streets import cars, coaches
from effdet.streets.canvas import Colour, palette
from effdet.streets.cycles import CYCLES
from effdet.streets.labels import Label
from effdet.streets.layout import PARKING, Layout, Street
from effdet.streets.looks import Look, cast_size, look
from effdet.streets.panels import Pose
from effdet.streets.vehicles import Vehicle


@dataclass(frozen=True)
class Actor:
    """One thing, or a rider with a cycle."""

    kind: str
    """vehicle, person, cycle or ridden."""
    looks: tuple[Look, ...]
    """The identity of the thing; for a ridden cycle (cycle, rider)."""
    pose: Pose
    length: float
    width: float
    phase: float = 0.0
    stride: float = 0.0
    speed: float = 0.0
    """m/s along its heading (for videos)."""
    umbrella: Colour | None = None

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """(x0, x1, z0, z1) of the footprint, metres."""
        cos, sin = abs(math.cos(self.pose.yaw)), abs(math.sin(self.pose.yaw))
        half_x = (self.length * sin + self.width * cos) / 2
        half_z = (self.length * cos + self.width * sin) / 2
        return self.pose.x - half_x, self.pose.x + half_x, self.pose.z - half_z, self.pose.z + half_z

    def moved(self, seconds: float, forward: float = 0.0) -> Actor:
        """The actor some seconds later, seen by a camera that went `forward` metres."""
        x = self.pose.x + math.sin(self.pose.yaw) * self.speed * seconds
        z = self.pose.z + math.cos(self.pose.yaw) * self.speed * seconds - forward
        phase = self.phase + seconds * (6.4 if self.kind == "person" else 5.0) * (1.0 if self.speed else 0.0)
        return replace(self, pose=replace(self.pose, x=x, z=z), phase=phase)


VEHICLES: dict[int, Callable[[Look], Vehicle]] = {
    Label.CAR: cars.car,
    Label.BUS: coaches.bus,
    Label.TRUCK: coaches.truck,
    Label.TRAIN: coaches.tram,
}
"""By label."""
_UMBRELLAS = palette("222228 aa242c 285096 debe3c 46826e")


class _Crowd:
    """Places actors and keeps their footprints apart."""

    def __init__(self, rng: np.random.Generator, seed: int, split: str, layout: Layout) -> None:
        self.rng, self.seed, self.split = rng, seed, split
        self.layout, self.street = layout, layout.street
        self.actors: list[Actor] = []

    def look(self, label: int) -> Look:
        return look(self.seed, self.split, label, int(self.rng.integers(cast_size(label, self.split))))

    def add(self, actor: Actor, gap: float = 0.35) -> None:
        """Leave it out where it would stand too near to the camera or to another."""
        x0, x1, z0, z1 = actor.extent
        extents = (other.extent for other in self.actors)
        free = all(x0 >= a1 + gap or x1 <= a0 - gap or z0 >= b1 + gap or z1 <= b0 - gap for a0, a1, b0, b1 in extents)
        if z0 >= 2.6 and free:
            self.actors.append(actor)

    def pose(self, offset: float, z: float, direction: int = 1, turn: float = 0.0) -> Pose:
        yaw = self.street.heading(z) + (math.pi if direction < 0 else 0.0) + turn
        return Pose(offset + float(self.street.centre(z)), z, yaw)

    def vehicle(self, label: int, pose: Pose, speed: float = 0.0) -> None:
        who = self.look(label)
        body = VEHICLES[label](who)
        self.add(Actor("vehicle", (who,), pose, body.length, body.width, speed=speed))

    def cycle(self, label: int, pose: Pose, *, ridden: bool, speed: float = 0.0) -> None:
        who = self.look(label)
        body = CYCLES[label](who)
        looks = (who, self.look(Label.RIDER)) if ridden else (who,)
        phase, kind = float(self.rng.uniform(0, 2 * math.pi)), "ridden" if ridden else "cycle"
        self.add(Actor(kind, looks, pose, body.length, 0.6, phase=phase, speed=speed), 0.1)

    def person(self, pose: Pose, *, stride: float) -> None:
        who = self.look(Label.PERSON)
        umbrella = None
        if self.layout.light.weather == "rain" and self.rng.random() < 0.4:
            umbrella = _UMBRELLAS[int(self.rng.integers(len(_UMBRELLAS)))]
        phase, speed = float(self.rng.uniform(0, 2 * math.pi)), 1.35 * stride
        actor = Actor("person", (who,), pose, 0.5, 0.5, phase=phase, stride=stride, speed=speed, umbrella=umbrella)
        self.add(actor, 0.02)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(low * (high / low) ** rng.random())


_ON_THE_ROAD = (Label.CAR, Label.TRUCK, Label.BUS)


def make_actors(rng: np.random.Generator, seed: int, split: str, layout: Layout) -> list[Actor]:
    """All things of a scene, nearest first within each group."""
    crowd = _Crowd(rng, seed, split, layout)
    street = layout.street
    busy = float(rng.uniform(0.35, 1.0)) * {"city": 1.0, "town": 0.9, "suburb": 0.7}[street.district]
    _trams(crowd, rng, street)
    _traffic(crowd, rng, street, busy)
    _parked(crowd, rng, street)
    _cross_traffic(crowd, rng, street, busy)
    _riders(crowd, rng, street)
    _walkers(crowd, rng, street)
    _standing_cycles(crowd, rng, street)
    return crowd.actors


def _trams(crowd: _Crowd, rng: np.random.Generator, street: Street) -> None:
    if street.tram is None or rng.random() < 0.15:
        return
    lane = street.lanes[street.tram]
    start = _log_uniform(rng, 6.5, 26.0)
    crowd.vehicle(Label.TRAIN, crowd.pose(lane.offset, start + 8.5, lane.direction), speed=7.0)


def _traffic(crowd: _Crowd, rng: np.random.Generator, street: Street, busy: float) -> None:
    for index, lane in enumerate(street.lanes):
        own = abs(lane.offset) < 1.2
        z = rng.uniform(5.5, 14.0) if own else rng.uniform(3.4, 11.0)
        while z < 46:
            if rng.random() < 0.80 * busy and not street.in_crossing(z, 1.5):
                label = _ON_THE_ROAD[int(rng.choice(3, p=[0.76, 0.12, 0.12]))]
                reach = {Label.CAR: 2.2, Label.TRUCK: 4.0, Label.BUS: 5.5}[label]
                pose = crowd.pose(lane.offset + rng.normal(0, 0.15), z + reach, lane.direction, rng.normal(0, 0.02))
                crowd.vehicle(label, pose, speed=9.0 + index)
            z += (6.8 + rng.exponential(5.0)) * (1 + z / 30)


def _parked(crowd: _Crowd, rng: np.random.Generator, street: Street) -> None:
    for side, allowed in ((-1, street.park_left), (1, street.park_right)):
        if not allowed:
            continue
        edge = street.left + PARKING / 2 if side < 0 else street.right - PARKING / 2
        share = rng.uniform(0.3, 0.85)
        z = rng.uniform(3.5, 10)
        limit = rng.uniform(14, 36)
        while z < limit:
            if (
                rng.random() < share
                and not street.in_crossing(z, 6.0)
                and not (street.zebra is not None and abs(z - street.zebra - 2) < 5)
            ):
                label = Label.CAR if rng.random() < 0.93 else Label.TRUCK
                direction = 1 if (side > 0) != (rng.random() < 0.15) else -1
                crowd.vehicle(label, crowd.pose(edge + rng.normal(0, 0.06), z + 2.2, direction, rng.normal(0, 0.015)))
            z += rng.uniform(5.4, 6.6)


def _cross_traffic(crowd: _Crowd, rng: np.random.Generator, street: Street, busy: float) -> None:
    if street.crossing is None:
        return
    for lane, direction in ((-0.5, 1), (0.5, -1)):
        z = street.crossing + lane * street.crossing_half
        x = rng.uniform(-16, -3)
        for _ in range(3):
            if rng.random() < 0.42 * (0.5 + busy / 2):
                label = _ON_THE_ROAD[int(rng.choice(3, p=[0.66, 0.16, 0.18]))]
                crowd.vehicle(label, Pose(x, z, direction * math.pi / 2 + rng.normal(0, 0.03)), speed=7.0)
            x += rng.uniform(8, 14)
    if rng.random() < 0.4:
        z = street.crossing - street.crossing_half * 0.8
        label = Label.BICYCLE if rng.random() < 0.63 else Label.MOTORCYCLE
        crowd.cycle(
            label, Pose(rng.uniform(-7, 7), z, math.copysign(math.pi / 2, rng.normal())), ridden=True, speed=4.5
        )


def _riders(crowd: _Crowd, rng: np.random.Generator, street: Street) -> None:
    for _ in range(int(rng.poisson(1.15))):
        lane = street.lanes[int(rng.integers(len(street.lanes)))]
        label = Label.BICYCLE if rng.random() < 0.63 else Label.MOTORCYCLE
        aside = 1.15 * lane.direction if label == Label.BICYCLE else rng.normal(0, 0.4)
        pose = crowd.pose(lane.offset + aside, _log_uniform(rng, 4.6, 22), lane.direction, rng.normal(0, 0.12))
        crowd.cycle(label, pose, ridden=True, speed=5.0 if label == Label.BICYCLE else 9.0)


def _walkers(crowd: _Crowd, rng: np.random.Generator, street: Street) -> None:
    """Groups on the sidewalks, people waiting at the kerb, people crossing."""
    edges = {-1: (street.left - street.walk[0], street.left), 1: (street.right, street.right + street.walk[1])}
    for _ in range(int(rng.poisson({"city": 2.7, "town": 2.3, "suburb": 1.5}[street.district]))):
        side = 1 if rng.random() < 0.6 else -1
        low, high = edges[side]
        offset = rng.uniform(low + 0.4, high - 0.5)
        # Nearer than this the place lies outside a square image.
        first = max(4.5, abs(offset) / 0.62)
        z = _log_uniform(rng, first, max(first + 3, 23))
        direction = 1 if rng.random() < 0.5 else -1
        stride = 0.0 if rng.random() < 0.22 else rng.uniform(0.75, 1.1)
        for member in range(1 + int(rng.choice(3, p=[0.45, 0.38, 0.17]))):
            turn = rng.normal(0, 0.15) if stride else rng.uniform(-math.pi, math.pi)
            crowd.person(
                crowd.pose(offset + member * rng.choice([-0.62, 0.62]), z + rng.uniform(-0.5, 0.7), direction, turn),
                stride=stride,
            )
    if street.zebra is not None:
        for _ in range(int(rng.poisson(1.5))):
            x, z = rng.uniform(street.left, street.right), street.zebra + rng.uniform(0.4, 2.8)
            turn = math.copysign(math.pi / 2, rng.normal()) + rng.normal(0, 0.12)
            crowd.person(Pose(x + float(street.centre(z)), z, turn), stride=rng.uniform(0.8, 1.15))
        for side in (-1, 1):
            if rng.random() < 0.3:
                edge = street.left - 0.5 if side < 0 else street.right + 0.5
                crowd.person(
                    crowd.pose(edge, street.zebra + rng.uniform(0.3, 2.6), 1, -side * math.pi / 2 + rng.normal(0, 0.3)),
                    stride=0.0,
                )
    elif rng.random() < 0.28:  # across the street, somewhere
        z = _log_uniform(rng, 6, 18)
        x = rng.uniform(street.left, street.right)
        crowd.person(
            Pose(x + float(street.centre(z)), z, math.copysign(math.pi / 2, rng.normal()) + rng.normal(0, 0.3)),
            stride=rng.uniform(0.9, 1.2),
        )


def _standing_cycles(crowd: _Crowd, rng: np.random.Generator, street: Street) -> None:
    for _ in range(int(rng.poisson(0.5))):
        side = 1 if rng.random() < 0.65 else -1
        edge = street.right + 0.7 if side > 0 else street.left - 0.7
        first = max(4.5, abs(edge) / 0.6)
        z = _log_uniform(rng, first, max(first + 3, 18))
        label = Label.BICYCLE if rng.random() < 0.62 else Label.MOTORCYCLE
        turn = rng.choice([0.0, math.pi / 2, math.pi / 3]) + rng.normal(0, 0.1)
        for member in range(1 + int(rng.integers(3)) if label == Label.BICYCLE else 1):
            crowd.cycle(label, crowd.pose(edge, z + member * 0.75, 1, turn), ridden=False)
