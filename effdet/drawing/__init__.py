"""Drawing: boxes, labels, segmentation maps, legends, contact image grids."""

from effdet.drawing.colours import class_colours
from effdet.drawing.draw import draw
from effdet.drawing.image_grid import draw_batch, grid

__all__ = ["class_colours", "draw", "draw_batch", "grid"]
