"""Flat panels in space: what vehicles, houses and street furniture are made of, and how they become marks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from effdet.streets.canvas import NEAR, Camera, Colour, Glow, Mark
from effdet.streets.light import Light

Points = np.ndarray
Place = tuple[float, float]
"""(x, z) on the ground, metres."""
Span = tuple[float, float]
"""Where something begins and ends, metres."""
_UP, _AHEAD = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
_HAIR = 0.0011
"""Image heights: details smaller than this are left out (they would only darken their panel)."""


@dataclass(frozen=True)
class Detail:
    """Polygons drawn upon a panel, in its own plane."""

    points: Points
    """(n, 2) or (m, n, 2) metres along the panel's axes."""
    colour: Colour
    glow: float = 0.0
    """0: shaded as the panel is. Above 0: shines by itself when lamps are on."""
    mask: bool = False
    """True where the detail reaches past its panel (wheels below a body)."""
    gloss: float = 0.0
    """0…1: how much of the sky it mirrors (glass)."""


@dataclass(frozen=True)
class Panel:
    """A polygon in the plane ``origin + s * along + t * upward``, in an object's own frame (x right, y up, z ahead)."""

    origin: tuple[float, float, float]
    along: tuple[float, float, float]
    upward: tuple[float, float, float]
    outline: Points
    """(n, 2) metres along the two axes."""
    colour: Colour
    normal: tuple[float, float, float]
    """Outward unit vector; a panel that looks away from the camera is not drawn."""
    details: tuple[Detail, ...] = ()
    gloss: float = 0.0


@dataclass(frozen=True)
class Lamp:
    """A light that a panel's object carries: where, how large, which colour."""

    at: tuple[float, float, float]
    radius: float
    colour: Colour
    normal: tuple[float, float, float] | None = None
    """Shines only towards this side; None: to all sides."""


@dataclass(frozen=True)
class Solid:
    """A convex-ish body: panels in the order in which they are to be drawn."""

    panels: tuple[Panel, ...]
    lamps: tuple[Lamp, ...] = ()
    middle: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Tells which of an object's solids is the farther."""

    @cached_property
    def mesh(self) -> _Mesh:
        return _Mesh(self.panels)


class _Mesh:
    """All points of a solid in one array, so that they are moved and projected at once."""

    def __init__(self, panels: tuple[Panel, ...]) -> None:
        points: list[np.ndarray] = []
        self.starts: list[int] = []
        self.spans: list[list[tuple[int, int, int, float]]] = []
        """For each panel its outline and then its details: (start, stop, polygons, smallest side in metres)."""
        count = 0
        for panel in panels:
            flats = [panel.outline]
            self.starts.append(count)
            spans = [(count, count + len(panel.outline), 0, 0.0)]
            count += len(panel.outline)
            for detail in panel.details:
                shape = detail.points.shape
                flat = detail.points.reshape(-1, 2)
                many = shape[0] if len(shape) == 3 else 0
                # Four points a quarter of the outline apart tell its extent well enough.
                n = shape[-2]
                (ax, ay), (bx, by), (cx, cy), (dx, dy) = flat[[0, n // 4, n // 2, 3 * n // 4]].tolist()
                side = min(max(abs(ax - cx), abs(bx - dx)), max(abs(ay - cy), abs(by - dy)))
                spans.append((count, count + len(flat), many, side))
                count += len(flat)
                flats.append(flat)
            points.append(np.concatenate(flats) @ np.array([panel.along, panel.upward]) + panel.origin)
            self.spans.append(spans)
        self.centres = np.array(
            [points[k][: len(panel.outline)].sum(0) / len(panel.outline) for k, panel in enumerate(panels)]
        )
        self.points = np.concatenate(points)
        self.normals = np.array([panel.normal for panel in panels])


def rect(x0: float, y0: float, x1: float, y1: float) -> Points:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float)


def rects(corners: Iterable[tuple[float, float, float, float]]) -> Points:
    """(m, 4, 2) of the (x0, y0, x1, y1) of each."""
    return np.array([rect(*each) for each in corners])


def pair(width: float, x0: float, y0: float, x1: float, y1: float) -> Points:
    """(2, 4, 2) a rectangle and its mirror image on a panel `width` metres wide."""
    return rects([(x0, y0, x1, y1), (width - x1, y0, width - x0, y1)])


def quad(
    corners: Sequence[Sequence[float]],
    colour: Colour,
    inside: Sequence[float],
    details: Sequence[Detail] = (),
    *,
    gloss: float = 0.0,
) -> Panel:
    """A panel through four corners in one plane: the first edge is its `along` axis (unit), details lie in metres.

    `inside` is a point of the body behind the panel, which tells its outward side.
    """
    (ox, oy, oz), second, _, last = corners
    ax, ay, az = second[0] - ox, second[1] - oy, second[2] - oz
    long = math.sqrt(ax * ax + ay * ay + az * az)
    ax, ay, az = ax / long, ay / long, az / long
    bx, by, bz = last[0] - ox, last[1] - oy, last[2] - oz
    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    long = math.sqrt(nx * nx + ny * ny + nz * nz)
    nx, ny, nz = nx / long, ny / long, nz / long
    ux, uy, uz = ny * az - nz * ay, nz * ax - nx * az, nx * ay - ny * ax
    if ux * bx + uy * by + uz * bz < 0:
        ux, uy, uz = -ux, -uy, -uz
    mx, my, mz = (sum(corner[axis] for corner in corners) / 4 - inside[axis] for axis in range(3))
    if nx * mx + ny * my + nz * mz < 0:
        nx, ny, nz = -nx, -ny, -nz
    outline = np.array(
        [
            [(x - ox) * ax + (y - oy) * ay + (z - oz) * az, (x - ox) * ux + (y - oy) * uy + (z - oz) * uz]
            for x, y, z in corners
        ]
    )
    return Panel((ox, oy, oz), (ax, ay, az), (ux, uy, uz), outline, colour, (nx, ny, nz), tuple(details), gloss)


def upright(
    x: Span,
    y: Span,
    z: float,
    colour: Colour,
    inside: Sequence[float],
    details: Sequence[Detail] = (),
    gloss: float = 0,
) -> Panel:
    """A rectangle in the plane of constant z, see :func:`quad`."""
    (x0, x1), (y0, y1) = x, y
    corners = [(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)]
    return quad(corners, colour, inside, details, gloss=gloss)


def side(x: float, outline: Points, colour: Colour, details: Sequence[Detail] = ()) -> Panel:
    """A panel in the plane of constant x, its axes (z, y); it looks away from x = 0."""
    origin, normal = (x, 0.0, 0.0), (math.copysign(1.0, x), 0.0, 0.0)
    return Panel(origin, _AHEAD, _UP, np.asarray(outline, float), colour, normal, tuple(details))


@dataclass(frozen=True)
class Pose:
    """Where an object stands: its origin on the ground, and its heading (0 looks away from the camera)."""

    x: float
    z: float
    yaw: float = 0.0
    y: float = 0.0

    def world(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) own frame -> world."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        out = np.empty(points.shape)
        out[..., 0] = points[..., 0] * cos + points[..., 2] * sin + self.x
        out[..., 1] = points[..., 1] + self.y
        out[..., 2] = -points[..., 0] * sin + points[..., 2] * cos + self.z
        return out

    def rotated(self, directions: np.ndarray) -> np.ndarray:
        """(n, 3) directions of the own frame, in the world's."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        return directions @ np.array([[cos, 0.0, -sin], [0.0, 1.0, 0.0], [sin, 0.0, cos]])

    def turn(self, x: float, y: float, z: float) -> tuple[float, float, float]:
        """A direction of the own frame, in the world's."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        return x * cos + z * sin, y, -x * sin + z * cos


def clip_near(points: np.ndarray, near: float = NEAR) -> np.ndarray:
    """(n, 3) polygon -> its part beyond the near plane (may be empty)."""
    inside = points[:, 2] >= near
    if inside.all():
        return points
    kept = []
    for index in range(len(points)):
        a, b = points[index - 1], points[index]
        if inside[index - 1] != inside[index]:
            kept.append(a + (b - a) * ((near - a[2]) / (b[2] - a[2])))
        if inside[index]:
            kept.append(b)
    return np.array(kept).reshape(-1, 3)


def draw(solid: Solid, pose: Pose, camera: Camera, light: Light, *, half_width: float = 2.0) -> list[Mark]:
    """Marks of a solid: panels that face the camera and the image, each followed by its details.

    Args:
        half_width: half the image's width in image heights; panels outside are left out.
    """
    mesh = solid.mesh
    world = pose.world(mesh.points)
    flat = camera.project(world)
    centres = pose.world(mesh.centres)
    normals = pose.rotated(mesh.normals)
    towards = (normals * (np.array([0.0, camera.height, 0.0]) - centres)).sum(1)
    facing = (normals @ np.array(light.sun)).tolist()
    depths = world[:, 2]
    nearest = np.minimum.reduceat(depths, mesh.starts).tolist()
    columns = flat[:, 0]
    seen = (
        (towards > 0)
        & (np.minimum.reduceat(columns, mesh.starts) < half_width)
        & (np.maximum.reduceat(columns, mesh.starts) > -half_width)
    )
    marks: list[Mark] = []
    for index in np.flatnonzero(seen).tolist():
        panel, spans = solid.panels[index], mesh.spans[index]
        start, stop = spans[0][:2]
        cut = nearest[index] < NEAR
        if cut:
            corners = clip_near(world[start:stop])
            if len(corners) < 3:
                continue
            outline = camera.project(corners)
            x, _, depth = corners.mean(0).tolist()
        else:
            outline = flat[start:stop]
            x, _, depth = centres[index].tolist()
        _, up, ahead = normals[index].tolist()
        # A panel that looks at the camera takes the headlights; one that looks up takes the lamps.
        glow = light.glow(x, depth) * (0.35 + 0.65 * max(0.0, -ahead, up)) if light.lit else 0.0
        sun = facing[index]
        colour = light.shade(panel.colour, sun, depth, glow, up)
        if panel.gloss:
            colour = mirror(colour, light, panel.gloss, up)
        marks.append(Mark(outline, colour))
        hair = _HAIR / camera.focal * depth * 0.6
        for detail, (start, stop, many, side) in zip(panel.details, spans[1:], strict=True):
            if side < hair and not detail.mask:
                continue
            points = flat[start:stop]
            if many:
                points = points.reshape(many, -1, 2)
            if cut and world[start:stop, 2].min() < NEAR:
                if not many:
                    continue
                ahead_of_us = world[start:stop, 2].reshape(many, -1).min(1) >= NEAR
                if not ahead_of_us.any():
                    continue
                points = points[ahead_of_us]
            tone = light.shade(detail.colour, sun, depth, glow, up)
            if detail.glow and light.lit > 0:
                share = min(1.0, detail.glow * (0.35 + 0.65 * light.lit))
                shine = light.fade(detail.colour, depth * 0.6)
                tone = tuple(b + (s - b) * share for b, s in zip(tone, shine, strict=True))
            elif detail.gloss:
                tone = mirror(tone, light, detail.gloss, up)
            marks.append(Mark(points, tone, detail.mask))  # type: ignore[arg-type]
    return marks


def mirror(colour: Colour, light: Light, share: float, up: float) -> Colour:
    """A shining surface: part of its colour is the sky it mirrors, more so where it looks up."""
    share = share * (0.35 + 0.65 * max(0.0, min(1.0, up)))
    low, high = light.haze, light.zenith
    sky = low if up < 0.5 else tuple((a + b) / 2 for a, b in zip(low, high, strict=True))
    return tuple(c + (s - c) * share for c, s in zip(colour, sky, strict=True))  # type: ignore[return-value]


def visible_lamps(solid: Solid, pose: Pose, camera: Camera) -> list[Glow]:
    """The lamps that shine at the camera."""
    found = []
    for lamp in solid.lamps:
        at = pose.world(np.array(lamp.at, float))
        if at[2] < NEAR:
            continue
        strength = 1.0
        if lamp.normal is not None:
            nx, ny, nz = pose.turn(*lamp.normal)
            to_eye = np.array([-at[0], camera.height - at[1], -at[2]])
            strength = float(np.array([nx, ny, nz]) @ to_eye) / float(np.sqrt(to_eye @ to_eye))
            if strength < 0.15:
                continue
        tone = tuple(c * min(1.0, strength * 1.3) for c in lamp.colour)
        found.append((camera.project(at), camera.size(lamp.radius, float(at[2])), tone, float(at[2])))
    return found
