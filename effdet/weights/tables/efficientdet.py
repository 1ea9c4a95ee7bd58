"""Detectors: the release files of the PyTorch ``effdet`` distribution, and Google's int8 EfficientDet-Lite files.

AP is the owners' own, on COCO val2017 in percent: the README of ``effdet`` (hard NMS) and, for the ``.tflite`` files, the
EfficientDet-Lite README of google/automl. Sizes, fill colours and pixel statistics: the distribution's configuration.
"""

from __future__ import annotations

from effdet.scaling import ROOT_ASPECTS
from effdet.weights.rows import BYTE_PIXELS, HALF_PIXELS, IMAGENET_PIXELS, NamedWeights, Published

_RELEASE = "https://github.com/rwightman/efficientdet-pytorch/releases/download/v0.1"
_README = "README of effdet 0.4.1, COCO val2017"
_MEAN_FILL, _GREY_FILL, _BLACK_FILL = (124, 116, 104), (128, 128, 128), (0, 0, 0)


def _row(model: str, size: int, stem: str, ap: float, *, kind: str = "imagenet") -> NamedWeights:
    pixels = IMAGENET_PIXELS if kind == "imagenet" else HALF_PIXELS
    fill = {"imagenet": _MEAN_FILL, "advprop": _BLACK_FILL, "lite": _GREY_FILL}[kind]
    file_name = f"{stem}.pth"
    return NamedWeights(
        name=model,
        model=model,
        layout="effdet",
        file_name=file_name,
        addresses=(f"{_RELEASE}/{file_name}",),
        sha256=stem.rsplit("-", 1)[-1],
        pixels=pixels,
        resize="letterbox",
        interpolation="bilinear",
        size=size,
        fill=fill,
        classes="coco90",
        result=Published("AP", ap, _README),
    )


def _lite_file(number: int, size: int, sha256: str, ap: float) -> NamedWeights:
    return NamedWeights(
        name=f"google/efficientdet-lite{number}",
        model=f"tf_efficientdet_lite{number}",
        layout="tflite",
        file_name=f"efficientdet-lite{number}.tflite",
        sha256=sha256,
        pixels=BYTE_PIXELS,
        resize="stretch",
        interpolation="bilinear",
        size=size,
        fill=_GREY_FILL,
        classes="coco90",
        # The published table's 1.4 x 0.7 is not what these files hold: theirs are sqrt(2) and its inverse.
        aspects=ROOT_ASPECTS,
        result=Published("AP", ap, "EfficientDet-Lite README of google/automl, int8, COCO val2017"),
    )


ROWS: tuple[NamedWeights, ...] = (
    _row("tf_efficientdet_d0", 512, "tf_efficientdet_d0_34-f153e0cf", 34.2),
    _row("tf_efficientdet_d1", 640, "tf_efficientdet_d1_40-a30f94af", 40.1),
    _row("tf_efficientdet_d2", 768, "tf_efficientdet_d2_43-8107aa99", 43.4),
    _row("tf_efficientdet_d3", 896, "tf_efficientdet_d3_47-0b525f35", 47.1),
    _row("tf_efficientdet_d4", 1024, "tf_efficientdet_d4_49-f56376d9", 49.2),
    _row("tf_efficientdet_d5", 1280, "tf_efficientdet_d5_51-c79f9be6", 51.2),
    _row("tf_efficientdet_d6", 1280, "tf_efficientdet_d6_52-4eda3773", 52.0),
    _row("tf_efficientdet_d7", 1536, "tf_efficientdet_d7_53-6d1d7a95", 53.1),
    _row("tf_efficientdet_d7x", 1536, "tf_efficientdet_d7x-f390b87c", 54.3),
    _row("tf_efficientdet_d0_ap", 512, "tf_efficientdet_d0_ap-d0cdbd0a", 34.8, kind="advprop"),
    _row("tf_efficientdet_d1_ap", 640, "tf_efficientdet_d1_ap-7721d075", 40.8, kind="advprop"),
    _row("tf_efficientdet_d2_ap", 768, "tf_efficientdet_d2_ap-a2995c19", 44.2, kind="advprop"),
    _row("tf_efficientdet_d3_ap", 896, "tf_efficientdet_d3_ap-e4a2feab", 47.7, kind="advprop"),
    _row("tf_efficientdet_d4_ap", 1024, "tf_efficientdet_d4_ap-f601a5fc", 50.2, kind="advprop"),
    _row("tf_efficientdet_d5_ap", 1280, "tf_efficientdet_d5_ap-3673ae5d", 52.1, kind="advprop"),
    _row("tf_efficientdet_lite0", 320, "tf_efficientdet_lite0-dfacfc78", 27.1, kind="lite"),
    _row("tf_efficientdet_lite1", 384, "tf_efficientdet_lite1-6dc7ab30", 32.2, kind="lite"),
    _row("tf_efficientdet_lite2", 448, "tf_efficientdet_lite2-86c5d55b", 35.9, kind="lite"),
    _row("tf_efficientdet_lite3", 512, "tf_efficientdet_lite3-506852cb", 39.6, kind="lite"),
    _row("tf_efficientdet_lite3x", 640, "tf_efficientdet_lite3x-8404c57b", 43.6, kind="lite"),
    _row("tf_efficientdet_lite4", 640, "tf_efficientdet_lite4-391ddabc", 44.2, kind="lite"),
    _row("efficientdet_d0", 512, "efficientdet_d0-f3276ba8", 33.6),
    _row("efficientdet_d1", 640, "efficientdet_d1-bb7e98fe", 39.4),
    _row("efficientdetv2_dt", 768, "efficientdetv2_rw_dt_agc-ad8b8c96", 46.1),
    _row("efficientdetv2_ds", 1024, "efficientnetv2_rw_ds_agc-cf589293", 50.1),  # the owner's file name says "net"
    _row("efficientdet_q0", 512, "efficientdet_q0-bdf1bdb5", 35.7),
    _row("efficientdet_q1", 640, "efficientdet_q1b-d0612140", 40.9),
    _row("efficientdet_q2", 768, "efficientdet_q2-0f7564e5", 43.1),
    _lite_file(0, 320, "2e04c53bfeac0ac2a30c057c7e2a777594ce39baaac35a92f74fb1e8c4fc4e0b", 26.1),
    _lite_file(1, 384, "183afa66aad648b0dc16519ae1f55646d9cd38d2b544b917a9ab1da320ebed75", 31.1),
)
