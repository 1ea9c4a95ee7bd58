"""Classifiers of torchvision. Their padding and BatchNorm epsilon go by network (:mod:`backbones.scaling`).

Top-1 in percent: torchvision's weight metadata (``acc@1`` on ImageNet-1k).
"""

from __future__ import annotations

from effdet.weights.rows import HALF_PIXELS, IMAGENET_PIXELS, NamedWeights, Published

_ADDRESS = "https://download.pytorch.org/models"


def _row(
    kind: str,
    stem: str,
    size: int,
    resize: int,
    top1: float,
    *,
    tag: str = "v1",
    interpolation: str = "bicubic",
    half: bool = False,
) -> NamedWeights:
    model = f"torchvision_efficientnet_{kind}"
    return NamedWeights(
        name=f"{model}.{tag}",
        model=model,
        layout="torchvision",
        file_name=f"{stem}.pth",
        addresses=(f"{_ADDRESS}/{stem}.pth",),
        sha256=stem.rsplit("-", 1)[-1],
        pixels=HALF_PIXELS if half else IMAGENET_PIXELS,
        interpolation=interpolation,
        size=size,
        crop=size / resize,
        classes="imagenet1k",
        result=Published("top1", top1, "torchvision's weight metadata, ImageNet-1k", size),
        licence="BSD-3-Clause",
        default=tag == ("v2" if kind == "b1" else "v1"),
    )


ROWS: tuple[NamedWeights, ...] = (
    _row("b0", "efficientnet_b0_rwightman-7f5810bc", 224, 256, 77.692),
    _row("b1", "efficientnet_b1_rwightman-bac287d4", 240, 256, 78.642),
    _row("b1", "efficientnet_b1-c27df63c", 240, 255, 79.838, tag="v2", interpolation="bilinear"),
    _row("b2", "efficientnet_b2_rwightman-c35c1473", 288, 288, 80.608),
    _row("b3", "efficientnet_b3_rwightman-b3899882", 300, 320, 82.008),
    _row("b4", "efficientnet_b4_rwightman-23ab8bcd", 380, 384, 83.384),
    _row("b5", "efficientnet_b5_lukemelas-1a07897c", 456, 456, 83.444),
    _row("b6", "efficientnet_b6_lukemelas-24a108a5", 528, 528, 84.008),
    _row("b7", "efficientnet_b7_lukemelas-c5b4e57e", 600, 600, 84.122),
    _row("v2_s", "efficientnet_v2_s-dd5fe13b", 384, 384, 84.228, interpolation="bilinear"),
    _row("v2_m", "efficientnet_v2_m-dc08266a", 480, 480, 85.112, interpolation="bilinear"),
    _row("v2_l", "efficientnet_v2_l-59c71312", 480, 480, 85.808, half=True),
)
