"""Where tracked objects came from: a fading line behind each, and its number in its own colour."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw

from effdet.drawing.colours import lifted, spread
from effdet.drawing.style import Style
from effdet.inference.prediction import Prediction

_MOST = 1000
"""Points of a trail, whatever the frame rate."""


class Trails:
    """Remembers the way of each track and draws it. Frames must come in order.

    Args:
        length: seconds that a trail reaches back.
        rate: frames per second, for frames without times.
    """

    def __init__(self, length: float = 1.0, *, rate: float = 30.0) -> None:
        self.length, self.rate = length, rate
        self._ways: dict[int, deque[tuple[float, float, float]]] = {}
        self._now = -1 / rate

    def draw(
        self, prediction: Prediction, *, score_threshold: float = 0.0, alpha: float = 0.5, time: float | None = None
    ) -> Image.Image:
        """The frame with its trails, and on top of them the boxes, coloured and labelled by track ("car 3").

        Args:
            prediction: the next frame's; `tracks` must be there.
            score: as in `Prediction.draw`.
            alpha: as in `Prediction.draw`.
            time: of the frame, in seconds; None follows the frame before by 1 / rate.
        """
        self._now = self._now + 1 / self.rate if time is None else time
        assert prediction.tracks is not None
        height, width = prediction.size
        for track, box in zip(prediction.tracks.tolist(), prediction.boxes.tolist(), strict=True):
            if track >= 0:
                # Where a thing stands: the middle of its lower edge moves as the thing does on the ground. Kept as shares
                # of the frame's sides, since a stream may change its size.
                way = self._ways.setdefault(track, deque(maxlen=_MOST))
                way.append(((box[0] + box[2]) / 2 / width, box[3] / height, self._now))
        for track, way in list(self._ways.items()):
            while way and self._now - way[0][2] > self.length:
                way.popleft()
            if not way:
                del self._ways[track]
        lined = np.asarray(self._lines(Image.fromarray(prediction.image)))
        return replace(prediction, image=lined).draw(score_threshold=score_threshold, alpha=alpha)

    def _lines(self, canvas: Image.Image) -> Image.Image:
        layer = Image.new("RGBA", canvas.size, (0, 0, 0, 0))
        pen, style = ImageDraw.Draw(layer), Style.fitting(*canvas.size)
        for track, way in self._ways.items():
            points = np.array(way)[:, :2] * canvas.size
            faded = 1 - (self._now - way[-1][2]) / (self.length + 1 / self.rate)
            for step in range(1, len(points)):
                strength = step / max(len(points) - 1, 1)
                tint = (*lifted(spread(track), 0.2), round(230 * strength * faded))
                width = max(1, round(style.line * (0.5 + strength)))
                pen.line([*points[step - 1], *points[step]], fill=tint, width=width, joint="curve")
        return Image.alpha_composite(canvas.convert("RGBA"), layer).convert("RGB")
