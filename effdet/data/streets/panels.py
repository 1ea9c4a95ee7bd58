"""Flat panels in space: what vehicles, houses and street furniture are made of, and how they become marks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .camera import NEAR, Camera
from .light import Light
from .marks import Colour, Mark

Points = np.ndarray
_HAIR = 0.0011
"""Picture heights: details smaller than this are left out (they would only darken their panel)."""


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


def rect(x0: float, y0: float, x1: float, y1: float) -> Points:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float)


def quad(corners: Sequence[Sequence[float]], colour: Colour, inside: Sequence[float], details: Sequence[Detail] = (),
         *, gloss: float = 0.0) -> Panel:  # fmt: skip
    """A panel through four corners in one plane: the first edge is its `along` axis (unit), details lie in metres.

    `inside` is a point of the body behind the panel, which tells its outward side.
    """
    points = np.asarray(corners, float)
    along = points[1] - points[0]
    along /= math.sqrt(float(along @ along))
    normal = np.cross(along, points[3] - points[0])
    normal /= math.sqrt(float(normal @ normal))
    upward = np.cross(normal, along)
    if upward @ (points[3] - points[0]) < 0:
        upward = -upward
    if normal @ (points.mean(0) - np.asarray(inside, float)) < 0:
        normal = -normal
    flat = points - points[0]
    outline = np.stack([flat @ along, flat @ upward], 1)
    return Panel(
        tuple(points[0].tolist()), tuple(along.tolist()), tuple(upward.tolist()), outline, colour,
        tuple(normal.tolist()), tuple(details), gloss,
    )  # fmt: skip


def side(x: float, outline: Points, colour: Colour, details: Sequence[Detail] = ()) -> Panel:
    """A panel in the plane of constant x, its axes (z, y); it looks away from x = 0."""
    return Panel((x, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0), np.asarray(outline, float), colour,
                 (math.copysign(1.0, x), 0.0, 0.0), tuple(details))  # fmt: skip


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


def draw(solid: Solid, pose: Pose, camera: Camera, light: Light, glow: float | None = None) -> list[Mark]:
    """Marks of a solid: panels that face the camera, each followed by its details."""
    marks: list[Mark] = []
    if glow is None:
        glow = light.glow(pose.x, pose.z)
    eye = (0.0, camera.height, 0.0)
    sun = light.sun
    for panel in solid.panels:
        nx, ny, nz = pose.turn(*panel.normal)
        frame = np.array([panel.along, panel.upward])
        origin = np.array(panel.origin)
        corners = pose.world(panel.outline @ frame + origin)
        px, py, pz = corners[0].tolist()
        if nx * (eye[0] - px) + ny * (eye[1] - py) + nz * (eye[2] - pz) <= 0:
            continue
        corners = clip_near(corners)
        if len(corners) < 3:
            continue
        depth = max(NEAR, float(corners[:, 2].mean()))
        facing = nx * sun[0] + ny * sun[1] + nz * sun[2]
        # A panel that looks at the camera takes the headlights; one that looks up takes the lamps.
        near_glow = glow * (0.35 + 0.65 * max(0.0, -nz, ny))
        colour = light.shade(panel.colour, facing, depth, near_glow, ny)
        if panel.gloss:
            colour = mirror(colour, light, panel.gloss, ny)
        marks.append(Mark(camera.project(corners), colour))
        hair = _HAIR / camera.focal * depth
        for detail in panel.details:
            low, high = detail.points.reshape(-1, detail.points.shape[-2], 2)[0].min(0), None
            high = detail.points.reshape(-1, detail.points.shape[-2], 2)[0].max(0)
            if not detail.mask and (high - low).min() < hair * 0.6:
                continue
            spots = pose.world(detail.points @ frame + origin)
            if spots[..., 2].min() < NEAR:
                continue
            if detail.glow and light.lit > 0:
                share = min(1.0, detail.glow * (0.35 + 0.65 * light.lit))
                base = light.shade(detail.colour, facing, depth, near_glow, ny)
                shine = light.fade(detail.colour, depth * 0.6)
                tone = tuple(b + (s - b) * share for b, s in zip(base, shine, strict=True))
            else:
                tone = light.shade(detail.colour, facing, depth, near_glow, ny)
                if detail.gloss:
                    tone = mirror(tone, light, detail.gloss, ny)  # type: ignore[arg-type]
            marks.append(Mark(camera.project(spots), tone, mask=detail.mask))  # type: ignore[arg-type]
    return marks


def mirror(colour: Colour, light: Light, share: float, up: float) -> Colour:
    """A shining surface: part of its colour is the sky it mirrors, more so where it looks up."""
    share = share * (0.35 + 0.65 * max(0.0, min(1.0, up)))
    sky = light.haze if up < 0.5 else light.zenith
    return tuple(c + (s - c) * share for c, s in zip(colour, sky, strict=True))  # type: ignore[return-value]


def visible_lamps(solid: Solid, pose: Pose, camera: Camera) -> list[tuple[np.ndarray, float, Colour, float]]:
    """(picture point, radius in picture heights, colour, depth in metres) of the lamps that shine at the camera."""
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
