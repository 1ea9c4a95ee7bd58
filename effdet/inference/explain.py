"""Where a model looks: Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) for any head.

For a number y that the model computes and a layer's feature maps A^k of h × w cells, equations 1 and 2:

    alpha_k = mean over cells of dy/dA^k          L = relu(sum_k alpha_k A^k)

A box depends only on the cells around its anchor, and a mean over all cells would show others that merely look alike. For
boxes the gradient therefore stays where it is, L = relu(sum_k dy/dA^k * A^k) (HiResCAM, Draelos and Carin 2020, arXiv
2011.08891), unless `method` says otherwise.

y is what the head says of one thing: the logit of a box's class at the anchor that found it; the mean logit of a class over
the pixels where it won (Seg-Grad-CAM, Vinogradova et al. 2020, arXiv 2002.11434); the logit of the image's class. A
head's things are listed by its kit (:meth:`effdet.tasks.Kit.explained`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from backbones.protocol import by_level
from effdet.drawing import draw, with_heat
from effdet.evaluation.predict_fn import evaluating, restore_heat
from effdet.inference.image import ImageLike, as_array
from effdet.tasks import Target, kits_of
from heads.structures import UserError

METHODS = ("grad", "hires")


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where the model looked for one thing."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    heat: np.ndarray
    """(H, W) float32, 0 … 1 at the strongest place; 0 throughout where nothing spoke for the thing."""
    head: str
    name: str
    score: float
    layer: str
    box: np.ndarray | None = None
    """(4,) xyxy in pixels of `image`."""

    def draw(self, *, alpha: float = 0.55) -> Image.Image:
        """The image under its heat, with the box if there is one."""
        warm = with_heat(self.image, self.heat, alpha=alpha)
        if self.box is None:
            return warm
        return draw(warm, self.box[None], np.array([0]), np.array([self.score]), [self.name])


def explain(
    model: nn.Module,
    image: ImageLike,
    *,
    head: str | None = None,
    layer: str | None = None,
    method: str | None = None,
    most: int = 3,
    score_threshold: float = 0.3,
) -> list[Explanation]:
    """Grad-CAM of what the heads find in one image.

    Example::

        for seen in explain(effdet.load("runs/x"), "street.jpg"):
            seen.draw().save(f"{seen.name}.jpg")

    Args:
        model: a `VisionModel` or `FoldedModel`; computed where it lies.
        image: see `effdet.inference.image.as_array`.
        head: explain this one; None takes all.
        layer: ``C1`` … ``C5`` of the backbone or a level of the neck; None is each thing's own.
        method: ``grad`` (Grad-CAM) or ``hires`` (HiResCAM); None is ``hires`` for boxes and ``grad`` for all else.
        most: things of each head: its best boxes, its largest classes of pixels, its likeliest classes of the image.
        score_threshold: boxes below are left out.

    Raises:
        UserError: there is no such head or layer, or `layer` has no part in what is explained.
    """
    network: Any = model
    if head is not None and head not in network.heads:
        raise UserError(f"head={head}: this model has {', '.join(network.heads)}")
    if method not in (None, *METHODS):
        raise UserError(f"method={method}: must be one of {', '.join(METHODS)}, or null")
    pixels = as_array(image)
    canvas, geometry = network.preprocess.geometry(pixels)
    device = next((tensor.device for tensor in model.state_dict().values()), torch.device("cpu"))
    images = torch.from_numpy(canvas.copy()).permute(2, 0, 1)[None].to(device)
    found = []
    with evaluating(model), torch.enable_grad(), features_of(model) as features:
        # Gradients must flow though all weights may be frozen: the images ask for them.
        outputs = model(network.preprocess.normalise(images).requires_grad_())
        for name, targets in _targets(network, outputs, head, most=most, score=score_threshold).items():
            for target in targets:
                chosen = layer or target.layer
                if chosen not in features:
                    raise UserError(f"layer={chosen}: this model has {', '.join(features)}")
                heat = grad_cam(target.number(outputs), features[chosen], method=method or target.method)
                box = None if target.box is None else geometry.to_original(np.array([target.box]))[0]
                restored = restore_heat(_on_canvas(heat, images.shape[2:]), [geometry])[0]
                found.append(Explanation(pixels, restored, name, target.name, target.score, chosen, box))
    return found


def grad_cam(number: Tensor, features: Tensor, *, method: str = "grad") -> Tensor:
    """Equations 1 and 2, or the gradient cell by cell.

    Args:
        number: scalar, computed from `features`.
        features: (B, C, h, w).
        method: ``grad`` or ``hires``.

    Returns:
        (B, h, w) float32 in 0…1, each image's strongest cell 1; 0 throughout where no cell is positive.

    Raises:
        UserError: `number` does not depend on `features`.
    """
    (gradient,) = torch.autograd.grad(number, features, retain_graph=True, allow_unused=True)
    if gradient is None:
        raise UserError("this layer has no part in what is explained: take another layer")
    weights = gradient.float()
    if method == "grad":
        weights = weights.mean((2, 3), keepdim=True)  # (B, C, 1, 1)
    heat = F.relu((weights * features.detach().float()).sum(1))  # (B, h, w)
    strongest = heat.amax((1, 2), keepdim=True)
    return torch.where(strongest > 0, heat / strongest.clamp(min=torch.finfo(torch.float32).tiny), heat)


@contextmanager
def features_of(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Gives a dictionary that each forward pass inside fills: ``C1`` … ``C5``, and the neck's levels."""
    network: Any = getattr(model, "model", model)  # a folded model holds the network
    features: dict[str, Tensor] = {}

    def of_backbone(module: nn.Module, inputs: Any, output: list[Tensor]) -> None:
        features.update(by_level(network.backbone, output))

    def of_neck(module: nn.Module, inputs: Any, output: Mapping[str, Tensor]) -> None:
        features.update(output)

    handles = [network.backbone.register_forward_hook(of_backbone)]
    if network.neck is not None:
        handles.append(network.neck.register_forward_hook(of_neck))
    try:
        yield features
    finally:
        for handle in handles:
            handle.remove()


def _on_canvas(heat: Tensor, size: torch.Size) -> Tensor:
    """(B, h, w) -> (B, H, W), bilinear. Cells and pixels share their centres, as in the network's strides."""
    return F.interpolate(heat[:, None], size=tuple(size), mode="bilinear", align_corners=False)[:, 0]


def _targets(
    network: Any, outputs: Mapping[str, Any], chosen: str | None, *, most: int, score: float
) -> dict[str, list[Target]]:
    """By head, its things; of all heads those that can be explained.

    Raises:
        UserError: the chosen head cannot be, or none can.
    """
    kits = {name: kit for name, kit in kits_of(network).items() if chosen in (None, name)}
    found = {
        name: kit.explained(network.heads[name], outputs[name], network.classes[name], most=most, score=score)
        for name, kit in kits.items()
    }
    known = {name: targets for name, targets in found.items() if targets is not None}
    if not known:
        name = next(iter(kits))
        raise UserError(f"head={name}: no way is written to explain a {type(network.heads[name]).__name__}")
    return known
