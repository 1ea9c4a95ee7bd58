"""Statistics for BatchNorms that a file brought without, by a pass over images.

A BatchNorm with any mean m and variance v computes ``s * x + b`` when its weight is ``s * sqrt(v + eps)`` and its bias
``b + s * m``. So each takes mean and variance of what it sees in a pass over images in evaluation mode: evaluation mode stays
the same function, and training mode, which normalises by the batch, becomes the same function up to the batch's noise.

The images are the user's, or the package's own where there are none. Those, ``calibration.jpg``, are generated: noise whose
pixels were optimised until the BatchNorms of EfficientDet-Lite0 and Lite1 see in them the means and variances that they see in
natural images (``benchmarks/calibration_images.py``). They show nothing, and no pixel of a natural image is in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from effdet.model import VisionModel
from effdet.pixels import rgb
from effdet.preprocess import Preprocess
from heads.structures import UserError

BATCH = 8
MIN_VARIANCE = 1e-6
"""Of a channel that never changes: far below every epsilon in use."""
Images = Iterable[Any] | Callable[[], Iterable[Any]]
"""Paths, PIL images or (h, w, 3) uint8 RGB arrays of any size; or a function that gives them, called when they are needed."""
ROWS, COLUMNS, SIDE = 2, 4, 320
"""Tiles of the package's file, and their side in pixels."""
LARGEST = 640
"""Side of the largest canvas that they are brought to: statistics hardly depend on it, time does."""


class _Moments:
    """Running mean and variance of every channel over all that a layer sees, in float64 (Chan et al., 1979)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | None = None
        self.squares: Tensor | None = None

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """A forward pre-hook of the layer, whose one input is (B, C, H, W)."""
        x = inputs[0]
        count = x.numel() // x.shape[1]
        variance, mean = torch.var_mean(x.float(), dim=(0, 2, 3), correction=0)
        mean, squares = mean.double().cpu(), variance.double().cpu() * count
        if self.mean is None or self.squares is None:
            self.count, self.mean, self.squares = count, mean, squares
            return
        total = self.count + count
        delta = mean - self.mean
        self.mean = self.mean + delta * (count / total)
        self.squares = self.squares + squares + delta.square() * (self.count * count / total)
        self.count = total

    @property
    def variance(self) -> Tensor:
        assert self.squares is not None
        return (self.squares / self.count).clamp(min=MIN_VARIANCE)


@torch.no_grad()
def restore_statistics(model: nn.Module, norms: Mapping[str, nn.BatchNorm2d], batches: Iterable[Tensor]) -> int:
    """Give `norms` the statistics of a pass over images; what they compute in evaluation mode stays the same.

    Args:
        model: a VisionModel or a bare backbone; left in the mode it was in.
        norms: modules of the model, by name.
        batches: (B, 3, H, W) float32, normalised as the model wants them.

    Returns:
        Number of images.
    """
    modes = [(module, module.training) for module in model.modules()]
    moments = {name: _Moments() for name in norms}
    network = model
    if isinstance(model, VisionModel) and all(name.startswith("backbone.") for name in norms):
        network = model.backbone
    parameter = next(model.parameters())
    images = 0
    with ExitStack() as stack:
        for name, norm in norms.items():
            stack.callback(norm.register_forward_pre_hook(moments[name]).remove)
        try:
            model.eval()
            with torch.autocast(parameter.device.type, enabled=False):
                for batch in batches:
                    network(batch.to(parameter).contiguous(memory_format=torch.channels_last))
                    images += len(batch)
        finally:
            for module, training in modes:
                module.training = training
    for name, norm in norms.items():
        if moments[name].count:
            _set(norm, moments[name])
    return images


def _set(norm: nn.BatchNorm2d, moments: _Moments) -> None:
    assert norm.running_mean is not None and norm.running_var is not None and moments.mean is not None
    mean, var, weight, bias = (x.double().cpu() for x in (norm.running_mean, norm.running_var, norm.weight, norm.bias))
    gain = weight / (var + norm.eps).sqrt()
    shift = bias - gain * mean
    # In the precision that they are stored in, so that rounding them changes nothing in evaluation mode.
    new_mean = moments.mean.to(norm.running_mean.dtype).double()
    new_var = moments.variance.to(norm.running_var.dtype).double()
    norm.running_mean.copy_(new_mean)
    norm.running_var.copy_(new_var)
    norm.weight.copy_(gain * (new_var + norm.eps).sqrt())
    norm.bias.copy_(shift + gain * new_mean)


def calibration_batches(images: Images | None, preprocess: Preprocess) -> Iterator[Tensor]:
    """(B, 3, H, W) float32 batches on the model's canvas, normalised.

    Args:
        images: the user's; None for generated ones.

    Raises:
        UserError: there are none, or one is not of the kinds of :data:`Images`.
    """
    if images is None:
        canvases: Iterable[np.ndarray] = generated(preprocess.size)
    else:
        passed = images() if callable(images) else images
        canvases = (preprocess.geometry(_array(image))[0] for image in passed)
    remaining, found = iter(canvases), False
    while batch := list(islice(remaining, BATCH)):
        found = True
        yield preprocess.normalise(torch.from_numpy(np.stack(batch).transpose(0, 3, 1, 2).copy()))
    if not found:
        raise UserError("images= gave no image that can be read; give some, or None for generated ones")


def _array(image: Any) -> np.ndarray:
    if isinstance(image, (str, Path)):
        with Image.open(image) as opened:
            image = rgb(ImageOps.exif_transpose(opened))
    if isinstance(image, Image.Image):
        image = np.asarray(rgb(image))
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        shape = f" {image.dtype} of shape {image.shape}" if isinstance(image, np.ndarray) else ""
        raise UserError(
            f"images: got a {type(image).__name__}{shape}; give paths, PIL images or (h, w, 3) uint8 RGB arrays"
        )
    return image


def generated(size: tuple[int, int]) -> list[np.ndarray]:
    """The package's own images on a canvas of (height, width) pixels, or one of its aspect with no side over `LARGEST`."""
    share = min(1.0, LARGEST / max(size))
    width, height = max(1, round(size[1] * share)), max(1, round(size[0] * share))
    with Image.open(Path(__file__).with_name("calibration.jpg")) as file:
        rgb = file.convert("RGB")
    boxes = [(x, y, x + SIDE, y + SIDE) for y in range(0, ROWS * SIDE, SIDE) for x in range(0, COLUMNS * SIDE, SIDE)]
    return [np.asarray(rgb.crop(box).resize((width, height), Image.Resampling.BILINEAR)) for box in boxes]
