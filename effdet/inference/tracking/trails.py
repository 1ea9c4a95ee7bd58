"""Where tracked objects came from: a fading line behind each, and its number in its own colour."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw

from effdet.drawing.colours import lifted, spread
from effdet.drawing.style import Style
from effdet.inference.prediction import Prediction


class Trails:
    """Remembers the way of each track and draws it. Frames must come in order.

    Args:
        length: frames that a trail reaches back.
    """

    def __init__(self, length: int = 30) -> None:
        self.length = length
        self._ways: dict[int, deque[tuple[float, float]]] = {}
        self._seen: dict[int, int] = {}
        self._frame = 0

    def draw(self, prediction: Prediction, *, score: float = 0.0, alpha: float = 0.5) -> Image.Image:
        """The frame with its trails, and on top of them the boxes, coloured and labelled by track ("car 3").

        Args:
            prediction: the next frame's; `tracks` must be there.
            score: as in `Prediction.draw`.
            alpha: as in `Prediction.draw`.
        """
        self._frame += 1
        assert prediction.tracks is not None
        for track, box in zip(prediction.tracks.tolist(), prediction.boxes.tolist(), strict=True):
            if track >= 0:
                # Where a thing stands: the middle of its lower edge moves as the thing does on the ground.
                way = self._ways.setdefault(track, deque(maxlen=self.length))
                way.append(((box[0] + box[2]) / 2, box[3]))
                self._seen[track] = self._frame
        forgotten = [track for track, frame in self._seen.items() if self._frame - frame > self.length]
        for track in forgotten:
            del self._ways[track], self._seen[track]
        lined = np.asarray(self._lines(Image.fromarray(prediction.image)))
        return replace(prediction, image=lined).draw(score=score, alpha=alpha)

    def _lines(self, canvas: Image.Image) -> Image.Image:
        layer = Image.new("RGBA", canvas.size, (0, 0, 0, 0))
        pen, style = ImageDraw.Draw(layer), Style.fitting(*canvas.size)
        for track, way in self._ways.items():
            points = np.array(way)
            faded = 1 - (self._frame - self._seen[track]) / (self.length + 1)
            for step in range(1, len(points)):
                strength = step / max(len(points) - 1, 1)
                tint = (*lifted(spread(track), 0.2), round(230 * strength * faded))
                width = max(1, round(style.line * (0.5 + strength)))
                pen.line([*points[step - 1], *points[step]], fill=tint, width=width, joint="curve")
        return Image.alpha_composite(canvas.convert("RGBA"), layer).convert("RGB")
