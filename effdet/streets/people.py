"""People: joints in space, limbs as capsules between them. Own frame: x right, y up, z ahead, origin between the feet."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from effdet.streets.canvas import Camera, Colour, Mark, capsule, circle, palette
from effdet.streets.cycles import Cycle
from effdet.streets.light import Light
from effdet.streets.looks import Look, pick, tone
from effdet.streets.panels import Pose

_SKIN = palette("eec8ac e0b292 c6906c 986648 684430 f4d4bc")
_HAIR = palette("261c18 4a3222 785230 be985e 1e1e22 969492 8a3e22")
_CLOTH = palette("282c3a 222428 aa282a 34548c cecac0 60684a ce9e3c 764660 468082 b27854 d6768c 80848a 385c3e d6d6d4")
_TROUSERS = palette("2a344e 222226 565e70 786a54 3c403c 8c8880 1c2438")
_SHOES = palette("1e1c1c d2d0cc 5a3c28")
_HELMETS = palette("e4e4e4 1e1e20 be2224 285aaa e6be28 5aa050")


class Body:
    """What the person of an identity looks like; height in metres, girth 1 for most."""

    def __init__(self, look: Look) -> None:
        rng = look.rng("body")
        child = rng.random() < 0.08
        height = rng.uniform(1.15, 1.4) if child else rng.normal(1.71, 0.075)
        woman = rng.random() < 0.5
        self.height = float(np.clip(height, 1.1, 1.95))
        self.girth = float(rng.uniform(0.9, 1.18))
        self.skin, self.hair = pick(rng, _SKIN, 6), pick(rng, _HAIR, 8)
        self.coat, self.legs, self.shoes = pick(rng, _CLOTH, 14), pick(rng, _TROUSERS, 10), pick(rng, _SHOES, 10)
        self.dress = bool(woman and rng.random() < 0.35)
        self.long_hair = bool(woman and rng.random() < 0.7)
        self.long_coat = bool(rng.random() < 0.22)
        self.bare_arms = bool(rng.random() < 0.3)
        self.backpack, self.bag, self.hat = (
            pick(rng, _CLOTH, 14) if rng.random() < share else None for share in (0.22, 0.25, 0.16)
        )
        self.helmet = pick(rng, _HELMETS, 10)


@lru_cache(maxsize=2048)
def body(look: Look) -> Body:
    return Body(look)


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


def riding(height: float, cycle: Cycle, turn: float) -> Joints:
    """Joints of a rider; `turn` is the crank's angle. A motorcycle's feet stand on rests."""
    # Length of the crank, how far the rider leans forward, how far the knees are apart.
    crank, lean, spread = (0.0, 0.12 if cycle.scooter else 0.42, 0.35) if cycle.motor else (0.17, 0.5, 0.06)
    seat, bars, pedal = cycle.seat, cycle.bars, cycle.crank
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


class Figure:
    """One person in a pose: joints in the image, and the light on the side that is seen. Lengths in heights of the person."""

    def __init__(
        self, who: Body, joints: Joints, pose: Pose, camera: Camera, light: Light, *, riding: bool = False
    ) -> None:
        self.who, self.pose, self.camera, self.light, self.riding = who, pose, camera, light, riding
        world = pose.world(np.array(list(joints.values())))
        self.world = dict(zip(joints, world, strict=True))
        self.spot = dict(zip(joints, camera.project(world), strict=True))
        self.depth = float(world[:, 2].mean())
        self.unit = camera.size(who.height, self.depth)
        """The person's height in image heights."""
        self._glow = light.glow(pose.x, pose.z) * 0.75
        sun_x, _, sun_z = light.sun
        self._front = max(0.0, -sun_z) * 0.6 + 0.25  # how far the side that we see lies in the sun
        self.sun_side = math.copysign(1.0, sun_x)
        """1 where the sun is to the right, else -1."""

    def far(self, joint: str) -> float:
        return float(self.world[joint][2])

    def mark(
        self, points: np.ndarray | list[np.ndarray], colour: Colour, gain: float = 1.0, *, mask: bool = True
    ) -> Mark:
        colour = self.light.shade(tone(colour, gain), self._front, self.depth, self._glow)
        return Mark(np.asarray(points), colour, mask)

    def limb(self, a: str, b: str, ra: float, rb: float, colour: Colour) -> list[Mark]:
        start, end, unit = self.spot[a], self.spot[b], self.unit
        marks = [self.mark(capsule(start, end, ra * unit, rb * unit), colour)]
        if unit > 0.09:  # the lit side of the limb
            shift = np.array([self.sun_side * 0.3 * min(ra, rb) * unit, 0.0])
            bright = capsule(start + shift, end + shift, ra * unit * 0.45, rb * unit * 0.45)
            marks.append(self.mark(bright, colour, 1.18, mask=False))
        return marks

    def leg(self, side: str) -> list[Mark]:
        who, g = self.who, self.who.girth
        marks = self.limb(f"hip_{side}", f"knee_{side}", 0.052 * g, 0.036 * g, who.legs)
        lower = who.skin if who.dress else tone(who.legs, 0.94)
        marks += self.limb(f"knee_{side}", f"ankle_{side}", 0.035 * g, 0.024 * g, lower)
        foot = capsule(self.spot[f"ankle_{side}"], self.spot[f"toe_{side}"], 0.026 * self.unit, 0.02 * self.unit)
        return [*marks, self.mark(foot, who.shoes)]

    def arm(self, side: str) -> list[Mark]:
        who, g, hand = self.who, self.who.girth, self.spot[f"hand_{side}"]
        sleeve = who.skin if who.bare_arms else tone(who.coat, 0.92)
        marks = self.limb(f"elbow_{side}", f"hand_{side}", 0.024 * g, 0.018 * g, sleeve)
        marks += self.limb(f"shoulder_{side}", f"elbow_{side}", 0.033 * g, 0.026 * g, tone(who.coat, 0.95))
        marks.append(self.mark(circle(8) * 0.021 * self.unit + hand, who.skin))
        if who.bag is not None and side == "r" and not self.riding:
            bag = np.array([[-0.07, 0.03], [0.07, 0.03], [0.08, 0.17], [-0.08, 0.17]]) * self.unit + hand
            marks.append(self.mark(bag, who.bag))
        return marks

    def torso(self) -> list[Mark]:
        """Shoulders to hips, widened where the turn of the body hides its width."""
        who, unit, spot = self.who, self.unit, self.spot
        left, right, hip_left, hip_right, neck = (
            spot[name] for name in ("shoulder_l", "shoulder_r", "hip_l", "hip_r", "neck")
        )
        pad, low_pad = 0.052 * who.girth * unit, 0.05 * who.girth * unit
        order = 1.0 if left[0] <= right[0] else -1.0
        shift, low_shift = np.array([order * pad, 0.0]), np.array([order * low_pad, 0.0])
        hem = 0.02 if not (who.long_coat or who.dress) or self.riding else (0.17 if who.dress else 0.14)
        flare = 1.0 if hem < 0.1 else 1.5
        drop, rise = np.array([0.0, hem * unit]), np.array([0.0, 0.03 * unit])
        points = np.array(
            [
                neck - [0.03 * unit * order, 0.0],
                left - shift * 0.8 - rise * 0.6,
                left - shift + rise,
                hip_left - low_shift * flare + drop,
                hip_right + low_shift * flare + drop,
                right + shift + rise,
                right + shift * 0.8 - rise * 0.6,
                neck + [0.03 * unit * order, 0.0],
            ]
        )
        marks = [self.mark(points, who.coat)]
        if unit > 0.05:
            middle = points.mean(0)
            wide = float(points[:, 0].max() - points[:, 0].min())
            bright = (points - middle) * [0.36, 0.92] + middle + [self.sun_side * 0.16 * wide, 0]
            dark = (points - middle) * [0.24, 0.94] + middle - [self.sun_side * 0.36 * wide, 0]
            marks += [self.mark(bright, who.coat, 1.16, mask=False), self.mark(dark, who.coat, 0.8, mask=False)]
            if hem < 0.1:
                left, right = hip_left - low_shift, hip_right + low_shift
                belt = [left + drop * 0.2, right + drop * 0.2, right + drop, left + drop]
                marks.append(self.mark(belt, tone(who.legs, 0.7), mask=False))
        return marks

    def backpack(self, colour: Colour, behind: tuple[float, float, float]) -> list[Mark]:
        unit = self.unit
        at = self.world["neck"] + np.array(behind) * 0.13 + [0, -0.17 * self.who.height, 0]
        back = self.camera.project(at)
        pack = circle(12) * [0.08 * unit * (0.55 + 0.45 * abs(behind[2])), 0.12 * unit] + back
        return [self.mark(pack, colour), self.mark(pack * 0.5 + back * 0.5 + [0, 0.02 * unit], colour, 1.2, mask=False)]

    @property
    def head_radius(self) -> float:
        """In image heights; children have larger heads."""
        return 0.067 * self.unit * (1.12 if self.who.height < 1.4 else 1.0)

    def head(self, *, helmet: bool) -> list[Mark]:
        who, unit, neck, head, r = self.who, self.unit, self.spot["neck"], self.spot["head"], self.head_radius
        ahead, _, away = self.pose.turn(0.0, 0.0, 1.0)  # towards us when `away` is negative
        skull = circle(16) * [r * 0.86, r * 1.12]
        covered = helmet or who.hat is not None
        cap = who.helmet if helmet else who.hair if who.hat is None else who.hat
        throat = [
            neck - [0.026 * unit, 0],
            neck + [0.026 * unit, 0],
            head + [0.024 * unit, 0],
            head - [0.024 * unit, 0],
        ]
        marks = [self.mark(throat, who.skin, 0.85)]
        if who.long_hair:
            marks.insert(0, self.mark(circle(12) * [r * 1.08, r * 1.5] + head + [-ahead * r * 0.4, r * 0.55], who.hair))
        marks.append(self.mark(skull + head, who.hair if away > 0.25 else who.skin))
        if away <= 0.25:
            marks += self._face(skull, head, r, ahead, cap)
        if covered:
            dome = circle(16) * [r * 1.12, r * 1.2]
            dome = dome[dome[:, 1] < 0.12 * r]
            shine = (dome * [0.4, 0.5]) + head - [math.copysign(0.3, -self.light.sun[0]) * r, r * 0.5]
            marks += [self.mark(dome + head - [0, r * 0.12], cap), self.mark(shine, cap, 1.25, mask=False)]
        return marks

    def _face(self, skull: np.ndarray, head: np.ndarray, r: float, ahead: float, cap: Colour) -> list[Mark]:
        """The lit cheek, the eyes and the hair around a face that is seen."""
        who, marks = self.who, list[Mark]()
        if self.unit > 0.1:
            cheek = skull * [0.5, 0.7] + head + [ahead * r * 0.25 + self.sun_side * 0.16 * r, 0.1 * r]
            marks.append(self.mark(cheek, who.skin, 1.1, mask=False))
            for eye in (-0.32, 0.32):
                if abs(ahead) < 0.8 or eye * ahead > 0:
                    iris = circle(8) * r * 0.1 + head + [ahead * r * 0.45 + eye * r, -0.02 * r]
                    marks.append(self.mark(iris, (40, 30, 28), mask=False))
        crown = skull * 1.06
        crown = crown[crown[:, 1] < -0.1 * r] + head + [-ahead * r * 0.28, 0.0]
        if abs(ahead) > 0.5:  # hair falls down the back of the head
            x = -math.copysign(r * 0.9, ahead)
            fall = [head + [x, -0.4 * r], head + [x, 0.7 * r], head + [x * 0.35, 0.5 * r], head + [x * 0.2, -0.5 * r]]
            marks.append(self.mark(fall, who.hair))
        return [*marks, self.mark(crown, cap)]

    def umbrella(self, colour: Colour) -> list[Mark]:
        unit, top = self.unit, self.spot["head"] - [0.0, 2.6 * self.head_radius]
        stick = self.mark([self.spot["hand_l"], top], (70, 70, 74))
        stick.kind, stick.width = "line", 0.012 * unit
        dome = circle(24) * [0.32 * unit, 0.17 * unit]
        dome = dome[dome[:, 1] <= 1e-9] + top + [0, 0.05 * unit]
        folds = ((0.62, 1.14), (0.24, 1.28))
        shine = [self.mark((dome - top) * [share, 1.0] + top, colour, gain, mask=False) for share, gain in folds]
        return [stick, self.mark(dome, colour), *shine]

    def marks(self, *, helmet: bool = False, umbrella: Colour | None = None) -> list[Mark]:
        """Far limbs, torso, head, near limbs."""
        groups: list[tuple[float, list[Mark]]] = []
        for side in "lr":
            groups.append((self.far(f"knee_{side}") + 0.02, self.leg(side)))
            groups.append((self.far(f"elbow_{side}") - 0.01, self.arm(side)))
        middle = (self.far("neck") + self.far("hip")) / 2
        if self.who.backpack is not None:
            behind = self.pose.turn(0.0, 0.0, -1.0)
            groups.append((middle + behind[2] * 0.15, self.backpack(self.who.backpack, behind)))
        groups.append((middle, self.torso()))
        groups.append((self.far("head") - 0.05, self.head(helmet=helmet)))
        groups.sort(key=lambda group: -group[0])
        marks = [mark for _, group in groups for mark in group]
        return marks if umbrella is None else marks + self.umbrella(umbrella)
