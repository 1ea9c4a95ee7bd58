"""People: joints in space, limbs as capsules between them. Own frame: x right, y up, z ahead, origin between the feet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from effdet.streets.camera import Camera
from effdet.streets.light import Light
from effdet.streets.looks import Look, tone, vary
from effdet.streets.marks import Colour, Mark, capsule, circle
from effdet.streets.panels import Pose

_SKIN: tuple[Colour, ...] = (
    (238, 200, 172),
    (224, 178, 146),
    (198, 144, 108),
    (152, 102, 72),
    (104, 68, 48),
    (244, 212, 188),
)
_HAIR: tuple[Colour, ...] = (
    (38, 28, 24),
    (74, 50, 34),
    (120, 82, 48),
    (190, 152, 94),
    (30, 30, 34),
    (150, 148, 146),
    (138, 62, 34),
)
_CLOTH: tuple[Colour, ...] = (
    (40, 44, 58),
    (34, 36, 40),
    (170, 40, 42),
    (52, 84, 140),
    (206, 202, 192),
    (96, 104, 74),
    (206, 158, 60),
    (118, 70, 96),
    (70, 128, 130),
    (178, 120, 84),
    (214, 118, 140),
    (128, 132, 138),
    (56, 92, 62),
    (214, 214, 212),
)
_TROUSERS: tuple[Colour, ...] = (
    (42, 52, 78),
    (34, 34, 38),
    (86, 94, 112),
    (120, 106, 84),
    (60, 64, 60),
    (140, 136, 128),
    (28, 36, 56),
)


@dataclass(frozen=True)
class Body:
    """What one person looks like."""

    height: float
    girth: float
    skin: Colour
    hair: Colour
    coat: Colour
    legs: Colour
    shoes: Colour
    dress: bool
    long_hair: bool
    long_coat: bool
    bare_arms: bool
    backpack: Colour | None
    bag: Colour | None
    hat: Colour | None
    helmet: Colour


@lru_cache(maxsize=2048)
def body(look: Look) -> Body:
    rng = look.rng("body")
    pick = lambda table, spread=10: vary(rng, table[int(rng.integers(len(table)))], spread)
    child = rng.random() < 0.08
    height = rng.uniform(1.15, 1.4) if child else rng.normal(1.71, 0.075)
    woman = rng.random() < 0.5
    return Body(
        height=float(np.clip(height, 1.1, 1.95)),
        girth=float(rng.uniform(0.9, 1.18)),
        skin=pick(_SKIN, 6),
        hair=pick(_HAIR, 8),
        coat=pick(_CLOTH, 14),
        legs=pick(_TROUSERS),
        shoes=pick(((30, 28, 28), (210, 208, 204), (90, 60, 40))),
        dress=bool(woman and rng.random() < 0.35),
        long_hair=bool(woman and rng.random() < 0.7),
        long_coat=bool(rng.random() < 0.22),
        bare_arms=bool(rng.random() < 0.3),
        backpack=pick(_CLOTH, 14) if rng.random() < 0.22 else None,
        bag=pick(_CLOTH, 14) if rng.random() < 0.25 else None,
        hat=pick(_CLOTH, 14) if rng.random() < 0.16 else None,
        helmet=pick(((228, 228, 228), (30, 30, 32), (190, 34, 36), (40, 90, 170), (230, 190, 40), (90, 160, 80))),
    )


Joints = dict[str, tuple[float, float, float]]


def walking(height: float, phase: float, stride: float) -> Joints:
    """Joints of a walker: `phase` in radians, `stride` 0 (standing) to 1."""
    h = height
    swing = 0.46 * stride * math.sin(phase)
    lift = 0.5 * stride * max(0.0, math.cos(phase))
    other_lift = 0.5 * stride * max(0.0, -math.cos(phase))
    thigh, shin, hip_y = 0.245 * h, 0.245 * h, 0.52 * h - 0.012 * h * stride * abs(math.sin(phase))
    joints: Joints = {"hip": (0, hip_y, 0), "neck": (0, 0.83 * h, 0.012 * h), "head": (0, 0.925 * h, 0.02 * h)}
    for sign, name, angle, bend in ((-1, "l", swing, lift), (1, "r", -swing, other_lift)):
        x = sign * 0.052 * h
        knee = (x, hip_y - thigh * math.cos(angle), thigh * math.sin(angle))
        lower = angle - bend - 0.08
        ankle = (x, knee[1] - shin * math.cos(lower), knee[2] + shin * math.sin(lower))
        joints |= {f"hip_{name}": (x, hip_y, 0), f"knee_{name}": knee, f"ankle_{name}": ankle}
        arm = -angle * 0.9
        shoulder = (sign * 0.118 * h, 0.80 * h, 0.0)
        elbow = (sign * 0.138 * h, shoulder[1] - 0.165 * h * math.cos(arm), 0.165 * h * math.sin(arm))
        forward = arm + 0.25 + 0.25 * stride
        hand = (sign * 0.135 * h, elbow[1] - 0.15 * h * math.cos(forward), elbow[2] + 0.15 * h * math.sin(forward))
        joints |= {f"shoulder_{name}": shoulder, f"elbow_{name}": elbow, f"hand_{name}": hand}
        joints[f"toe_{name}"] = (x, ankle[1] - 0.035 * h, ankle[2] + 0.085 * h)
    low = min(joints["toe_l"][1], joints["toe_r"][1]) - 0.008 * h
    return {name: (x, y - low, z) for name, (x, y, z) in joints.items()}


def _reach(start: np.ndarray, end: np.ndarray, first: float, second: float, bend: np.ndarray) -> np.ndarray:
    """The middle joint of a two-bone limb, bent towards `bend`."""
    along = end - start
    distance = min(float(np.sqrt(along @ along)), (first + second) * 0.999)
    unit = along / max(1e-6, float(np.sqrt(along @ along)))
    reach = (first * first - second * second + distance * distance) / (2 * distance)
    rise = math.sqrt(max(0.0, first * first - reach * reach))
    bend = bend - unit * float(bend @ unit)
    return start + unit * reach + bend / max(1e-6, float(np.sqrt(bend @ bend))) * rise


def riding(
    height: float,
    seat: tuple[float, float],
    bars: tuple[float, float],
    pedal: tuple[float, float],
    turn: float,
    crank: float,
    lean: float,
    spread: float,
) -> Joints:
    """Joints of a rider: seat, handlebar and crank axle as (z, y); `turn` is the crank's angle, 0 length for foot rests."""
    h = height
    hip = np.array([0.0, seat[1] + 0.05 * h, seat[0]])
    torso = 0.33 * h
    neck = hip + np.array([0.0, torso * math.cos(lean), torso * math.sin(lean)])
    head = neck + np.array([0.0, 0.1 * h, 0.035 * h])
    joints: dict[str, np.ndarray] = {"hip": hip, "neck": neck, "head": head}
    for sign, name, angle in ((-1, "l", turn), (1, "r", turn + math.pi)):
        x = sign * 0.055 * h
        foot = np.array(
            [sign * (0.09 + 0.4 * spread), pedal[1] + crank * math.sin(angle), pedal[0] + crank * math.cos(angle)]
        )
        ankle = foot + np.array([0.0, 0.06 * h, -0.03 * h])
        start = hip + np.array([x, -0.01 * h, 0.0])
        knee = _reach(start, ankle, 0.25 * h, 0.25 * h, np.array([sign * spread, 0.5, 1.0]))
        shoulder = neck + np.array([sign * 0.115 * h, -0.03 * h, 0.0])
        hand = np.array([sign * 0.24, bars[1], bars[0]])
        elbow = _reach(shoulder, hand, 0.165 * h, 0.155 * h, np.array([sign * 0.6, -0.8, -0.2]))
        joints |= {
            f"hip_{name}": start,
            f"knee_{name}": knee,
            f"ankle_{name}": ankle,
            f"toe_{name}": foot + np.array([0, 0.012 * h, 0.045 * h]),
            f"shoulder_{name}": shoulder,
            f"elbow_{name}": elbow,
            f"hand_{name}": hand,
        }
    return {name: tuple(point.tolist()) for name, point in joints.items()}  # type: ignore[misc]


def draw_person(
    who: Body,
    joints: Joints,
    pose: Pose,
    camera: Camera,
    light: Light,
    *,
    helmet: bool = False,
    riding: bool = False,
    umbrella: Colour | None = None,
) -> list[Mark]:
    """Marks of a person: far limbs, backbone, head, near limbs."""
    names = list(joints)
    world = pose.world(np.array([joints[name] for name in names]))
    flat = camera.project(world)
    spot = {name: flat[i] for i, name in enumerate(names)}
    far = {name: float(world[i, 2]) for i, name in enumerate(names)}
    depth = float(world[:, 2].mean())
    unit = camera.size(who.height, depth)
    glow = light.glow(pose.x, pose.z)
    lamp = glow * 0.75
    sun_x, _, sun_z = light.sun
    front = max(0.0, -sun_z) * 0.6 + 0.25  # how far the side that we see lies in the sun

    def lit(colour: Colour, gain: float = 1.0) -> Colour:
        return light.shade(tone(colour, gain), front, depth, lamp)

    groups: list[tuple[float, list[Mark]]] = []

    def limb(a: str, b: str, ra: float, rb: float, colour: Colour) -> list[Mark]:
        start, end = spot[a], spot[b]
        marks = [Mark(capsule(start, end, ra * unit, rb * unit), lit(colour))]
        if unit > 0.09:  # the lit side of the limb
            shift = np.array([math.copysign(0.3, sun_x) * min(ra, rb) * unit, 0.0])
            marks.append(
                Mark(
                    capsule(start + shift, end + shift, ra * unit * 0.45, rb * unit * 0.45),
                    lit(colour, 1.18),
                    mask=False,
                )
            )
        return marks

    g = who.girth
    sleeve = who.skin if who.bare_arms else tone(who.coat, 0.92)
    for side in "lr":
        leg = limb(f"hip_{side}", f"knee_{side}", 0.052 * g, 0.036 * g, who.legs)
        lower = who.skin if who.dress else tone(who.legs, 0.94)
        leg += limb(f"knee_{side}", f"ankle_{side}", 0.035 * g, 0.024 * g, lower)
        leg.append(Mark(capsule(spot[f"ankle_{side}"], spot[f"toe_{side}"], 0.026 * unit, 0.02 * unit), lit(who.shoes)))
        groups.append((far[f"knee_{side}"] + 0.02, leg))
        arm = limb(f"elbow_{side}", f"hand_{side}", 0.024 * g, 0.018 * g, sleeve)
        arm += limb(f"shoulder_{side}", f"elbow_{side}", 0.033 * g, 0.026 * g, tone(who.coat, 0.95))
        arm.append(Mark(circle(8) * 0.021 * unit + spot[f"hand_{side}"], lit(who.skin)))
        if who.bag is not None and side == "r" and not riding:
            hand = spot["hand_r"]
            box = np.array([[-0.07, 0.03], [0.07, 0.03], [0.08, 0.17], [-0.08, 0.17]]) * unit + hand
            arm.append(Mark(box, lit(who.bag)))
        groups.append((far[f"elbow_{side}"] - 0.01, arm))

    # Trunk: shoulders to hips, widened where the turn of the body hides its width.
    left, right = spot["shoulder_l"], spot["shoulder_r"]
    hip_left, hip_right = spot["hip_l"], spot["hip_r"]
    pad, low_pad = 0.052 * g * unit, 0.05 * g * unit
    order = 1.0 if left[0] <= right[0] else -1.0
    shift, low_shift = np.array([order * pad, 0.0]), np.array([order * low_pad, 0.0])
    hem = 0.02 if not (who.long_coat or who.dress) or riding else (0.17 if who.dress else 0.14)
    flare = 1.0 if hem < 0.1 else 1.5
    drop = np.array([0.0, hem * unit])
    neck = spot["neck"]
    shoulder_rise = np.array([0.0, 0.03 * unit])
    torso_points = np.array(
        [
            neck - [0.03 * unit * order, 0.0],
            left - shift * 0.8 - shoulder_rise * 0.6,
            left - shift + shoulder_rise,
            hip_left - low_shift * flare + drop,
            hip_right + low_shift * flare + drop,
            right + shift + shoulder_rise,
            right + shift * 0.8 - shoulder_rise * 0.6,
            neck + [0.03 * unit * order, 0.0],
        ]
    )
    torso = [Mark(torso_points, lit(who.coat))]
    if unit > 0.05:
        middle = torso_points.mean(0)
        wide = float(torso_points[:, 0].max() - torso_points[:, 0].min())
        bright = (torso_points - middle) * [0.36, 0.92] + middle + [math.copysign(0.16, sun_x) * wide, 0]
        torso.append(Mark(bright, lit(who.coat, 1.16), mask=False))
        dark = (torso_points - middle) * [0.24, 0.94] + middle - [math.copysign(0.36, sun_x) * wide, 0]
        torso.append(Mark(dark, lit(who.coat, 0.8), mask=False))
        if hem < 0.1:  # a belt line
            torso.append(
                Mark(
                    np.array(
                        [
                            hip_left - low_shift + drop * 0.2,
                            hip_right + low_shift + drop * 0.2,
                            hip_right + low_shift + drop,
                            hip_left - low_shift + drop,
                        ]
                    ),
                    lit(tone(who.legs, 0.7)),
                    mask=False,
                )
            )
    if who.backpack is not None:
        behind = pose.turn(0.0, 0.0, -1.0)
        back = camera.project(world[names.index("neck")] + np.array(behind) * 0.13 + [0, -0.17 * who.height, 0])
        pack = circle(12) * [0.08 * unit * (0.55 + 0.45 * abs(behind[2])), 0.12 * unit] + back
        pack_mark = [
            Mark(pack, lit(who.backpack)),
            Mark(pack * 0.5 + back * 0.5 + [0, 0.02 * unit], lit(who.backpack, 1.2), mask=False),
        ]
        groups.append(((far["neck"] + far["hip"]) / 2 + behind[2] * 0.15, pack_mark))
    groups.append(((far["neck"] + far["hip"]) / 2, torso))

    head = spot["head"]
    facing = pose.turn(0.0, 0.0, 1.0)  # towards us when facing[2] is negative
    r = 0.067 * unit * (1.12 if who.height < 1.4 else 1.0)
    skull = circle(16) * [r * 0.86, r * 1.12]
    skin = lit(who.skin)
    cap_colour = who.helmet if helmet else (who.hat if who.hat is not None else who.hair)
    face = [
        Mark(
            np.array(
                [neck - [0.026 * unit, 0], neck + [0.026 * unit, 0], head + [0.024 * unit, 0], head - [0.024 * unit, 0]]
            ),
            lit(who.skin, 0.85),
        )
    ]
    hair = lit(who.hair)
    if who.long_hair:
        face.insert(0, Mark(circle(12) * [r * 1.08, r * 1.5] + head + [-facing[0] * r * 0.4, r * 0.55], hair))
    face.append(Mark(skull + head, hair if facing[2] > 0.25 else skin))
    if facing[2] <= 0.25:
        if unit > 0.1:
            face.append(
                Mark(
                    skull * [0.5, 0.7] + head + [facing[0] * r * 0.25 + math.copysign(0.16, sun_x) * r, 0.1 * r],
                    lit(who.skin, 1.1),
                    mask=False,
                )
            )
            look_x = facing[0] * r * 0.45
            for eye in (-0.32, 0.32):
                if abs(facing[0]) < 0.8 or eye * facing[0] > 0:
                    face.append(
                        Mark(circle(8) * r * 0.1 + head + [look_x + eye * r, -0.02 * r], lit((40, 30, 28)), mask=False)
                    )
        crown = skull * 1.06
        crown = crown[crown[:, 1] < -0.1 * r]
        back_tilt = np.array([-facing[0] * r * 0.28, 0.0])
        crown = crown + head + back_tilt
        if abs(facing[0]) > 0.5:  # hair falls down the back of the head
            side_x = -math.copysign(r * 0.9, facing[0])
            face.append(
                Mark(
                    np.array(
                        [
                            head + [side_x, -0.4 * r],
                            head + [side_x, 0.7 * r],
                            head + [side_x * 0.35, 0.5 * r],
                            head + [side_x * 0.2, -0.5 * r],
                        ]
                    ),
                    hair,
                )
            )
        face.append(Mark(crown, lit(cap_colour)))
    if helmet or who.hat is not None:
        dome = circle(16) * [r * 1.12, r * 1.2]
        dome = dome[dome[:, 1] < 0.12 * r]
        face.append(Mark(dome + head - [0, r * 0.12], lit(cap_colour)))
        face.append(
            Mark(
                (dome * [0.4, 0.5]) + head - [math.copysign(0.3, -sun_x) * r, r * 0.5],
                lit(cap_colour, 1.25),
                mask=False,
            )
        )
    groups.append((far["head"] - 0.05, face))
    groups.sort(key=lambda group: -group[0])
    marks = [mark for _, group in groups for mark in group]
    if umbrella is not None:
        top = head - [0.0, 2.6 * r]
        marks.append(
            Mark(
                np.array([spot["hand_l"], top]),
                lit((70, 70, 74)),
                kind="line",
                width=0.012 * unit,
            )
        )
        dome = circle(24) * [0.32 * unit, 0.17 * unit]
        dome = dome[dome[:, 1] <= 1e-9] + top + [0, 0.05 * unit]
        marks.append(Mark(dome, lit(umbrella)))
        for share, gain in ((0.62, 1.14), (0.24, 1.28)):
            marks.append(Mark((dome - top) * [share, 1.0] + top, lit(umbrella, gain), mask=False))
    return marks
