"""Objects as points (CenterNet, Zhou et al., arXiv 1904.07850): a head that the package does not have.

A cell of one fine level says how likely it is the centre of an object of each class, how large that object is, and where in the
cell its centre lies. Deviation: the heat of a box is an ellipse as wide and high as the box asks for (TTFNet, arXiv 1909.00700,
equation 3), not a circle, and all of a box's losses are taken at its one centre cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones.layers import Conv2d, ConvNormAct, LayerConventions, initialise
from heads.prior import PRIOR, start_at_prior
from heads.protocol import Context
from heads.ranks import over_ranks
from heads.structures import Detections, Targets, UserError

SPREAD = 0.54 / 6
"""Standard deviation of a box's heat, as a share of the box's side (TTFNet's alpha / 6)."""


class CentreHead(nn.Module):
    """Heat maps of centres, with sizes and offsets.

    Args:
        channels: width of each level, by name.
        num_classes: K.
        in_levels: the one level that it reads.
        width: of its two convolutions; None for that of the level.
        size_weight, offset_weight: of the L1 losses, in units of the level's cells.
        score_threshold: of :meth:`predict`.
        max_detections: of an image.

    Attributes:
        class_layers: for weights of other classes: the module whose output channels are classes.
    """

    in_levels: Sequence[str] = ("P3",)
    in_heads: Sequence[str] = ()
    class_layers = ("heat",)
    counts_predictions = False

    def __init__(
        self,
        channels: Mapping[str, int],
        num_classes: int,
        *,
        in_levels: Sequence[str] = ("P3",),
        width: int | None = None,
        activation: str = "silu",
        size_weight: float = 0.1,
        offset_weight: float = 1.0,
        score_threshold: float = 0.001,
        max_detections: int = 100,
    ) -> None:
        super().__init__()
        if len(in_levels) != 1:
            raise UserError(f"in_levels={list(in_levels)} of a centre head must be one level, such as [P3]")
        self.in_levels, self.num_classes = tuple(in_levels), num_classes
        self.size_weight, self.offset_weight = size_weight, offset_weight
        self.score_threshold, self.max_detections = score_threshold, max_detections
        cin = channels[in_levels[0]]
        width = width or cin
        layers = LayerConventions(activation=activation)
        self.convs = nn.Sequential(
            ConvNormAct(cin, width, 3, conventions=layers), ConvNormAct(width, width, 3, conventions=layers)
        )
        self.heat = Conv2d(width, num_classes, 1, bias=True)
        self.box = Conv2d(width, 4, 1, bias=True)  # offset x, y in cells; logarithm of width, height in cells
        initialise(self)
        nn.init.normal_(self.box.weight, std=0.01)
        start_at_prior(self.heat, PRIOR)

    def forward(self, features: Mapping[str, Tensor], context: Context) -> Tensor:
        """(B, K + 4, h, w): K logits, then offset x, y and the logarithms of width and height."""
        x = self.convs(features[self.in_levels[0]])
        return torch.cat([self.heat(x), self.box(x)], dim=1)

    def loss(self, output: Tensor, targets: Targets, context: Context) -> dict[str, Tensor]:
        """``{"heat", "size", "offset"}``: float32, divided by the number of boxes of the whole optimiser step."""
        with torch.autocast(output.device.type, enabled=False):
            logits, offset, size = output.float().split([self.num_classes, 2, 2], dim=1)
            boxes, labels, trained_on = _trained_on(targets, output)
            real = labels >= 0  # (B, M)
            total, parts = over_ranks(real.sum())
            share = parts / total.clamp(min=1)
            cells = boxes / _strides(output, context)  # (B, M, 4) xyxy in cells
            centre, sides = (cells[..., :2] + cells[..., 2:]) / 2, (cells[..., 2:] - cells[..., :2]).clamp(min=1e-3)
            height, width = output.shape[2:]
            limit = torch.tensor([width - 1, height - 1], device=output.device)
            cell = torch.minimum(centre.floor().clamp(min=0), limit)  # (B, M, 2) x, y
            heat = self._heat(cell, sides, labels, real, (height, width))
            index = (cell[..., 1] * width + cell[..., 0]).long()  # (B, M)
            found = torch.cat([offset, size], 1).flatten(2).transpose(1, 2)  # (B, h * w, 4)
            found = found.gather(1, index[..., None].expand(-1, -1, 4))
            requested = torch.cat([centre - cell, sides.log()], -1)
            distance = ((found - requested).abs() * real[..., None]).sum((0, 1))  # (4,)
            each = _penalised_focal(logits, heat).sum((1, 2, 3))  # (B,)
            return {
                "heat": (each * trained_on).sum() * share,
                "size": distance[2:].sum() * self.size_weight * share,
                "offset": distance[:2].sum() * self.offset_weight * share,
            }

    def _heat(self, cell: Tensor, sides: Tensor, labels: Tensor, real: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, K, h, w) in 0…1, 1 at the centre cells; where ellipses overlap, the larger value."""
        height, width = size
        x, y = torch.arange(width, device=cell.device), torch.arange(height, device=cell.device)
        spread = (sides * SPREAD).clamp(min=1 / 3)  # a box of a cell still warms its neighbours a little
        along_x = (-((x - cell[..., :1]) ** 2) / (2 * spread[..., :1] ** 2)).exp()  # (B, M, w)
        along_y = (-((y - cell[..., 1:]) ** 2) / (2 * spread[..., 1:] ** 2)).exp()  # (B, M, h)
        splats = (along_y[..., :, None] * along_x[..., None, :] * real[..., None, None]).flatten(2)  # (B, M, h * w)
        heat = splats.new_zeros(len(cell), self.num_classes, height * width)
        index = labels.clamp(min=0)[..., None].expand_as(splats)
        return heat.scatter_reduce(1, index, splats, "amax").unflatten(2, size)

    def count(self, output: Tensor, targets: Targets, context: Context) -> None:
        over_ranks((_trained_on(targets, output)[1] >= 0).sum())

    def labelled(self, targets: Targets) -> bool | Tensor:
        if targets.boxes is None:
            return False
        return True if targets.has_boxes is None else targets.has_boxes.any()

    def predict(self, output: Tensor, context: Context) -> Detections:
        """Boxes at the peaks of the heat (a cell as warm as its eight neighbours, or warmer), in input pixels."""
        logits, offset, size = output.float().split([self.num_classes, 2, 2], dim=1)
        heat = logits.sigmoid()
        peaks = torch.where(F.max_pool2d(heat, 3, stride=1, padding=1) == heat, heat, 0.0).flatten(1)  # (B, K * h * w)
        cells = output.shape[2] * output.shape[3]
        scores, place = peaks.topk(min(self.max_detections, peaks.shape[1]), dim=1)  # (B, N)
        labels, cell = place // cells, place % cells
        box = torch.cat([offset, size], 1).flatten(2).gather(2, cell[:, None].expand(-1, 4, -1)).transpose(1, 2)
        corner = torch.stack([cell % output.shape[3], cell // output.shape[3]], -1)  # (B, N, 2) x, y
        centre, half = corner + box[..., :2], box[..., 2:].clamp(max=10).exp() / 2
        boxes = torch.cat([centre - half, centre + half], -1) * _strides(output, context)
        keep = scores >= self.score_threshold  # sorted: what is kept comes first
        return Detections(
            boxes=boxes * keep[..., None],
            scores=scores * keep,
            labels=labels.masked_fill(~keep, -1),
            counts=keep.sum(1),
        )


def _strides(output: Tensor, context: Context) -> Tensor:
    """(4,) pixels to a cell: x, y, x, y."""
    height, width = context.image_size
    return output.new_tensor([width / output.shape[3], height / output.shape[2]] * 2, dtype=torch.float32)


def _trained_on(targets: Targets, output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (B, M, 4), labels (B, M) with -1 for padding, and (B,) float32: 1 for images that are labelled with boxes."""
    batch, device = len(output), output.device
    if targets.boxes is None or targets.labels is None:
        empty = torch.zeros((batch, 0, 4), device=device)
        return empty, torch.zeros((batch, 0), dtype=torch.int64, device=device), torch.zeros(batch, device=device)
    if targets.has_boxes is None:
        return targets.boxes.float(), targets.labels, torch.ones(batch, device=device)
    labels = torch.where(targets.has_boxes[:, None], targets.labels, -1)
    return targets.boxes.float(), labels, targets.has_boxes.float()


def _penalised_focal(logits: Tensor, heat: Tensor, *, alpha: float = 2.0, beta: float = 4.0) -> Tensor:
    """CenterNet's equation 1 for each entry: cells near a centre count less as background."""
    p = logits.sigmoid()
    at_centre = -((1 - p) ** alpha) * F.logsigmoid(logits)
    elsewhere = (1 - heat) ** beta * p**alpha * F.softplus(logits)
    return torch.where(heat == 1, at_centre, elsewhere)
