"""Houses along the street: facades with shops, windows, balconies and roofs, cut into bays so that air dims the far ones."""

from __future__ import annotations

import math

import numpy as np

from . import labels
from .camera import Camera
from .light import Light
from .looks import tone, vary
from .marks import Colour, Mark
from .panels import Detail, Pose, Solid, draw, quad, rect

_PLASTER: tuple[Colour, ...] = (
    (216, 202, 172), (198, 168, 128), (184, 184, 180), (206, 162, 138), (226, 218, 204), (168, 148, 122), (190, 196, 186), (214, 190, 120),
)  # fmt: skip
_BRICK: tuple[Colour, ...] = ((146, 82, 62), (126, 74, 60), (166, 104, 78), (112, 84, 74))
_OFFICE: tuple[Colour, ...] = ((150, 156, 162), (120, 128, 136), (186, 186, 182), (98, 108, 118))
_SHOP: tuple[Colour, ...] = ((176, 36, 40), (30, 74, 130), (36, 108, 78), (232, 184, 56), (60, 44, 70), (224, 222, 214), (210, 104, 44), (26, 26, 30))
_ROOF: tuple[Colour, ...] = ((140, 72, 52), (88, 76, 72), (76, 80, 88), (118, 62, 50))
_WARM: tuple[Colour, ...] = ((255, 214, 130), (255, 232, 176), (244, 196, 110), (214, 226, 240))
_EYE_INSIDE = 6.0
"""Metres behind the facade: a point inside the house, to tell which way its walls look."""


class House:
    """One house: a facade from `start` to `stop` on the ground, a body behind it, drawn as panels."""

    def __init__(self, rng: np.random.Generator, start: tuple[float, float], stop: tuple[float, float], back: tuple[float, float], *, district: str) -> None:
        """`back` is the unit vector (x, z) from the facade into the house."""
        self.start, self.stop, self.back = start, stop, back
        style = str(rng.choice(["plaster", "brick", "office"], p={"city": [0.45, 0.2, 0.35], "town": [0.62, 0.3, 0.08], "suburb": [0.7, 0.3, 0.0]}[district]))
        table = {"plaster": _PLASTER, "brick": _BRICK, "office": _OFFICE}[style]
        self.style = style
        self.wall = vary(rng, table[int(rng.integers(len(table)))], 12)
        self.floors = int({"city": rng.integers(4, 9), "town": rng.integers(2, 5), "suburb": rng.integers(1, 3)}[district])
        self.storey = float(rng.uniform(2.9, 3.4))
        self.shop = bool(rng.random() < {"city": 0.75, "town": 0.55, "suburb": 0.04}[district])
        self.shop_high = 3.6 if self.shop else 0.9
        self.height = self.shop_high + self.storey * self.floors
        self.roof = style != "office" and rng.random() < {"city": 0.35, "town": 0.75, "suburb": 1.0}[district]
        self.roof_colour = vary(rng, _ROOF[int(rng.integers(len(_ROOF)))], 8)
        self.trim = tone(self.wall, 1.18) if rng.random() < 0.7 else (232, 230, 224)
        self.glass = vary(rng, (58, 70, 82), 12)
        self.sign = vary(rng, _SHOP[int(rng.integers(len(_SHOP)))], 10)
        self.awning = bool(rng.random() < 0.45)
        self.pitch = float(rng.uniform(1.8, 2.9))
        self.wide = float(rng.uniform(0.42, 0.6)) if style != "office" else float(rng.uniform(0.7, 0.92))
        self.tall = float(rng.uniform(0.48, 0.62)) if style != "office" else float(rng.uniform(0.55, 0.8))
        self.balconies = style != "office" and rng.random() < 0.3
        self.shutters = style == "plaster" and rng.random() < 0.3
        self.shutter_colour = vary(rng, ((62, 96, 74), (120, 60, 48), (70, 84, 110))[int(rng.integers(3))], 10)
        self.lit_share = float(rng.uniform(0.15, 0.5))
        self.depth = float(rng.uniform(8, 14))
        self.seed = int(rng.integers(2**31))

    def _bay(self, rng: np.random.Generator, width: float, light: Light) -> list[Detail]:
        """What stands on `width` metres of the facade, in metres from its lower left corner."""
        details: list[Detail] = []
        columns = max(1, round(width / self.pitch))
        pitch = width / columns
        w, h = pitch * self.wide, self.storey * self.tall
        x = (np.arange(columns) + 0.5) * pitch
        y = self.shop_high + (np.arange(self.floors) + 0.5) * self.storey
        grid = np.stack(np.meshgrid(x, y), -1).reshape(-1, 1, 2)
        unit = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
        for level in range(1, self.floors + 1):
            line = self.shop_high + level * self.storey
            if self.style != "office" and (level == self.floors or self.balconies):
                details.append(Detail(rect(0, line - 0.16, width, line), tone(self.trim, 0.92)))
        if self.style == "office":
            bands = np.array([rect(0, value - h * 0.62, width, value + h * 0.62) for value in y.tolist()])
            details.append(Detail(bands, tone(self.wall, 0.8)))
        frame = grid + unit * [w + 0.16, h + 0.18]
        pane = grid + unit * [w, h]
        details.append(Detail(frame, self.trim if self.style != "office" else tone(self.wall, 0.65)))
        on = rng.random(len(pane)) < self.lit_share
        if on.any():
            details.append(Detail(pane[on], _WARM[int(rng.integers(len(_WARM)))], glow=1.0) if light.lit > 0.3 else Detail(pane[on], tone(self.glass, 1.25), gloss=0.2))
        if not on.all():
            details.append(Detail(pane[~on], self.glass, gloss=0.45))
            high = (grid + unit * [w, h * 0.42] + [0, h * 0.29])[~on]
            details.append(Detail(high, tone(self.glass, 1.3), gloss=0.6))
        if self.style != "office":
            details.append(Detail(grid + unit * [w * 0.09, h], tone(self.trim, 0.9)))
            details.append(Detail(grid + unit * [w + 0.34, 0.14] - [0, h / 2 + 0.1], tone(self.trim, 1.05)))
        if self.shutters:
            for sign in (-1, 1):
                details.append(Detail(grid + unit * [w * 0.42, h + 0.06] + [sign * w * 0.74, 0], self.shutter_colour))
        if self.balconies:
            chosen = grid[rng.random(len(grid)) < 0.5]
            if len(chosen):
                details.append(Detail(chosen + unit * [w + 0.7, 0.14] - [0, h / 2 + 0.28], tone(self.wall, 0.7)))
                rails = np.concatenate([chosen + unit * [0.05, 0.85] + [shift * (w + 0.6), -h / 2 + 0.2] for shift in np.linspace(-0.5, 0.5, 7).tolist()])
                details += [Detail(rails, (52, 54, 58)), Detail(chosen + unit * [w + 0.7, 0.06] + [0, -h / 2 + 0.62], (52, 54, 58))]
        if self.shop:
            details.append(Detail(rect(0, 0, width, 0.45), tone(self.wall, 0.6)))
            show = np.array([rect(0.25 + k * (width - 0.2) / 2, 0.5, (k + 1) * (width - 0.2) / 2 - 0.1, 2.6) for k in range(2)])
            inside = _WARM[int(rng.integers(len(_WARM)))] if light.lit > 0.3 else tone(self.glass, 0.8)
            details.append(Detail(show, inside, glow=0.9 if light.lit > 0.3 else 0.0, gloss=0.3))
            goods = np.array([rect(px, 0.55, px + rng.uniform(0.2, 0.5), 0.55 + rng.uniform(0.4, 1.3)) for px in rng.uniform(0.4, max(0.5, width - 0.9), 5)])
            details.append(Detail(goods, vary(rng, (130, 104, 90), 40)))
            details.append(Detail(show[:, [3, 2, 1, 0]] * [1, 0.25] + [0, 1.9], tone(self.glass, 1.4), gloss=0.5))
            door = rect(width / 2 - 0.5, 0, width / 2 + 0.5, 2.5)
            details += [Detail(door, tone(self.sign, 0.5)), Detail(rect(width / 2 - 0.36, 0.25, width / 2 + 0.36, 2.2), self.glass, gloss=0.3)]
            details.append(Detail(rect(0.1, 2.75, width - 0.1, 3.35), self.sign, glow=0.25))
            ink = (240, 238, 230) if sum(self.sign) < 380 else (40, 40, 44)
            letters = np.array([rect(px, 2.9, px + 0.16, 3.2) for px in np.arange(width * 0.2, width * 0.2 + rng.uniform(0.9, max(1.0, width * 0.55)), 0.26)])
            details.append(Detail(letters, ink, glow=0.5))
            if self.awning:
                stripes = np.arange(0.1, width - 0.3, 0.36)
                details.append(Detail(rect(0.1, 2.35, width - 0.1, 2.85), (236, 232, 222)))
                details.append(Detail(np.array([rect(px, 2.3, px + 0.18, 2.85) for px in stripes]), self.sign))
        else:
            details.append(Detail(rect(0, 0, width, 0.7), tone(self.wall, 0.72)))
            if rng.random() < 0.6:
                px = rng.uniform(0.3, max(0.4, width - 1.4))
                details += [Detail(rect(px - 0.12, 0, px + 1.12, 2.45), self.trim), Detail(rect(px, 0, px + 1.0, 2.3), vary(rng, (92, 62, 46), 22))]
        return details

    def marks(self, camera: Camera, light: Light) -> list[Mark]:
        rng = np.random.Generator(np.random.Philox(self.seed))
        (ax, az), (bx, bz) = self.start, self.stop
        length = math.hypot(bx - ax, bz - az)
        bays = max(1, round(length / 5.0))
        inner_x, inner_z = self.back[0] * _EYE_INSIDE, self.back[1] * _EYE_INSIDE
        mid = ((ax + bx) / 2 + inner_x, self.height / 2, (az + bz) / 2 + inner_z)
        marks: list[Mark] = []
        order = range(bays) if az > bz else range(bays - 1, -1, -1)
        # The gable end that looks at us, behind the nearer end of the facade.
        near, far = (self.start, self.stop) if az <= bz else (self.stop, self.start)
        if abs(self.back[0]) > 0.5:
            end = [(near[0], 0.0, near[1]), (near[0] + self.back[0] * self.depth, 0.0, near[1]),
                   (near[0] + self.back[0] * self.depth, self.height, near[1]), (near[0], self.height, near[1])]  # fmt: skip
            plain = [Detail(rect(0, 0, self.depth, 0.7), tone(self.wall, 0.72))]
            if self.floors > 1:
                holes = np.array([rect(px, py, px + 1.0, py + 1.4) for px in (2.2, 5.2) for py in self.shop_high + 0.8 + np.arange(self.floors) * self.storey])
                plain.append(Detail(holes, self.glass, gloss=0.3))
            marks += draw(Solid((quad(end, tone(self.wall, 0.95), mid, plain),)), Pose(0, 0), camera, light, glow=light.glow(near[0], near[1]) * 0.6)
        for bay in order:
            t0, t1 = bay / bays, (bay + 1) / bays
            a = (ax + (bx - ax) * t0, az + (bz - az) * t0)
            b = (ax + (bx - ax) * t1, az + (bz - az) * t1)
            if max(a[1], b[1]) < 1.0:
                continue
            details = self._bay(np.random.Generator(np.random.Philox([self.seed, bay])), length / bays, light)
            corners = [(a[0], 0.0, a[1]), (b[0], 0.0, b[1]), (b[0], self.height, b[1]), (a[0], self.height, a[1])]
            panel = quad(corners, self.wall, mid, details)
            glow = light.glow((a[0] + b[0]) / 2, (a[1] + b[1]) / 2) * 0.8
            marks += draw(Solid((panel,)), Pose(0, 0), camera, light, glow=glow)
        if self.roof:
            ridge = self.height + rng.uniform(2.2, 3.6)
            dx, dz = self.back[0] * self.depth * 0.5, self.back[1] * self.depth * 0.5
            lift = 0.0
            eave = [(ax - self.back[0] * 0.4, self.height - lift, az - self.back[1] * 0.4), (bx - self.back[0] * 0.4, self.height - lift, bz - self.back[1] * 0.4),
                    (bx + dx, ridge, bz + dz), (ax + dx, ridge, az + dz)]  # fmt: skip
            below = ((ax + bx) / 2 + dx, -50.0, (az + bz) / 2 + dz)
            tiles = [Detail(rect(0, k * 0.9, length, k * 0.9 + 0.14), tone(self.roof_colour, 0.85)) for k in range(1, 5)]
            marks += draw(Solid((quad(eave, self.roof_colour, below, tiles),)), Pose(0, 0), camera, light, glow=0.0)
            if abs(self.back[0]) > 0.5:
                gable = [(near[0], self.height, near[1]), (near[0] + self.back[0] * self.depth, self.height, near[1]), (near[0] + dx, ridge, near[1]), (near[0] + dx, ridge, near[1] + 1e-6)]
                points = camera.project(np.array(gable[:3]))
                if near[1] > 1.0:
                    facing = -light.sun[2]
                    marks.append(Mark(points, light.shade(tone(self.wall, 0.92), facing, near[1], 0.0)))
        return marks

    label = labels.BUILDING
