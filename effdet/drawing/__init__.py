"""Drawing: boxes, labels, class maps, legends, contact sheets."""

from effdet.drawing.colours import class_colours
from effdet.drawing.draw import draw
from effdet.drawing.sheet import draw_batch, grid

__all__ = ["class_colours", "draw", "draw_batch", "grid"]
