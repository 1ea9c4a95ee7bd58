"""Drawing: boxes, labels, segmentation maps, heat maps, legends, image grids."""

from effdet.drawing.colours import class_colours
from effdet.drawing.draw import draw, with_heat
from effdet.drawing.image_grid import draw_batch, grid

__all__ = ["class_colours", "draw", "draw_batch", "grid", "with_heat"]
