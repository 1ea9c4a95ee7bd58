"""Classifiers of timm: the Hugging Face files and, where there is one, the older release file with its checksum.

Top-1 in percent is ``100 - top1_err`` of timm's ``results-imagenet.csv``, at the size given here. Mean and deviation,
crop and interpolation go by tag: AdvProp, Lite, V2 S to XL and the ``ra4`` recipes want pixels in [-1, 1].
"""

from __future__ import annotations

from effdet.hub import HubFile
from effdet.weights.rows import HALF_PIXELS, IMAGENET_PIXELS, NamedWeights, Published

_RELEASE = "https://github.com/rwightman/pytorch-image-models/releases/download"


def _row(
    model: str,
    tag: str,
    size: int,
    crop: float,
    top1: float | None,
    *,
    file: str | None = None,
    half: bool = False,
    resize: str = "center_crop",
    interpolation: str = "bicubic",
    classes: str = "imagenet1k",
    default: bool = False,
) -> NamedWeights:
    name = f"{model}.{tag}"
    directory = "v0.1-effv2-weights" if model.startswith("tf_efficientnetv2") else "v0.1-weights"
    result = None if top1 is None else Published("top1", top1, "results-imagenet.csv of timm, ImageNet-1k", size)
    return NamedWeights(
        name=name,
        model=model,
        layout="timm",
        file_name=f"{file}.pth" if file else f"{name}.safetensors",
        addresses=(f"{_RELEASE}/{directory}/{file}.pth",) if file else (),
        hub_file=HubFile(f"timm/{name}"),
        sha256=file.rsplit("-", 1)[-1] if file else None,
        pixels=HALF_PIXELS if half else IMAGENET_PIXELS,
        resize=resize,
        interpolation=interpolation,
        size=size,
        crop=crop,
        classes=classes,
        result=result,
        default=default,
    )


def _lite(
    number: int, size: int, crop: float, top1: float, digits: str, *, interpolation: str = "bicubic"
) -> NamedWeights:
    model = f"tf_efficientnet_lite{number}"
    file = f"{model}-{digits}"
    return _row(model, "in1k", size, crop, top1, file=file, half=True, interpolation=interpolation, default=True)


def _v2(kind: str, tag: str, size: int, top1: float | None, file_end: str, *, resize: str = "stretch") -> NamedWeights:
    model, classes = f"tf_efficientnetv2_{kind}", "imagenet21k" if tag == "in21k" else "imagenet1k"
    options = {"half": True, "resize": resize, "classes": classes, "default": tag == "in21k_ft_in1k"}
    return _row(model, tag, size, 1, top1, file=model + file_end, **options)


ROWS: tuple[NamedWeights, ...] = (
    _row("efficientnet_b0", "ra4_e3600_r224_in1k", 256, 1, 79.36, half=True),
    _row("efficientnet_b0", "ra_in1k", 224, 0.875, 77.7, file="efficientnet_b0_ra-3dd342df", default=True),
    _row("efficientnet_b1", "ft_in1k", 256, 1, 78.81, file="efficientnet_b1-533bc792"),
    _row("efficientnet_b1", "ra4_e3600_r240_in1k", 288, 1, 81.44, half=True, default=True),
    _row("efficientnet_b2", "ra_in1k", 288, 1, 80.61, file="efficientnet_b2_ra-bcdf34b7", default=True),
    _row("efficientnet_b3", "ra2_in1k", 320, 1, 82.3, file="efficientnet_b3_ra2-cf984f9c", default=True),
    _row("efficientnet_b4", "ra2_in1k", 384, 1, 83.47, file="efficientnet_b4_ra2_320-7eb33cd5", default=True),
    _row("efficientnet_b5", "sw_in12k", 416, 0.95, None, classes="imagenet12k"),
    _row("efficientnet_b5", "sw_in12k_ft_in1k", 448, 1, 85.89, resize="stretch", default=True),
    _row("efficientnet_lite0", "ra_in1k", 224, 0.875, 75.49, file="efficientnet_lite0_ra-37913777", default=True),
    _row("efficientnetv2_rw_m", "agc_in1k", 416, 1, 84.83, file="efficientnetv2_rw_m_agc-3d90cb1e", default=True),
    _row("efficientnetv2_rw_s", "ra2_in1k", 384, 1, 83.83, file="efficientnet_v2s_ra2_288-a6477665", default=True),
    _row("efficientnetv2_rw_t", "ra2_in1k", 288, 1, 82.35, file="efficientnetv2_t_agc-3620981a", default=True),
    _row("tf_efficientnet_b0", "aa_in1k", 224, 0.875, 76.88, file="tf_efficientnet_b0_aa-827b6e33"),
    _row("tf_efficientnet_b0", "ap_in1k", 224, 0.875, 77.1, file="tf_efficientnet_b0_ap-f262efe1", half=True),
    _row("tf_efficientnet_b0", "in1k", 224, 0.875, 76.54, file="tf_efficientnet_b0-0af12548"),
    _row("tf_efficientnet_b0", "ns_jft_in1k", 224, 0.875, 78.68, file="tf_efficientnet_b0_ns-c0e6a31c", default=True),
    _row("tf_efficientnet_b1", "aa_in1k", 240, 0.882, 78.84, file="tf_efficientnet_b1_aa-ea7a6ee0"),
    _row("tf_efficientnet_b1", "ap_in1k", 240, 0.882, 79.29, file="tf_efficientnet_b1_ap-44ef0a3d", half=True),
    _row("tf_efficientnet_b1", "in1k", 240, 0.882, 78.55, file="tf_efficientnet_b1-5c1377c4"),
    _row("tf_efficientnet_b1", "ns_jft_in1k", 240, 0.882, 81.39, file="tf_efficientnet_b1_ns-99dd0c41", default=True),
    _row("tf_efficientnet_b2", "aa_in1k", 260, 0.89, 80.07, file="tf_efficientnet_b2_aa-60c94f97"),
    _row("tf_efficientnet_b2", "ap_in1k", 260, 0.89, 80.3, file="tf_efficientnet_b2_ap-2f8e7636", half=True),
    _row("tf_efficientnet_b2", "in1k", 260, 0.89, 79.61, file="tf_efficientnet_b2-e393ef04"),
    _row("tf_efficientnet_b2", "ns_jft_in1k", 260, 0.89, 82.41, file="tf_efficientnet_b2_ns-00306e48", default=True),
    _row("tf_efficientnet_b3", "aa_in1k", 300, 0.904, 81.65, file="tf_efficientnet_b3_aa-84b4657e"),
    _row("tf_efficientnet_b3", "ap_in1k", 300, 0.904, 81.84, file="tf_efficientnet_b3_ap-aad25bdd", half=True),
    _row("tf_efficientnet_b3", "in1k", 300, 0.904, 80.88, file="tf_efficientnet_b3-e3bd6955"),
    _row("tf_efficientnet_b3", "ns_jft_in1k", 300, 0.904, 84.05, file="tf_efficientnet_b3_ns-9d44bf68", default=True),
    _row("tf_efficientnet_b4", "aa_in1k", 380, 0.922, 83.04, file="tf_efficientnet_b4_aa-818f208c"),
    _row("tf_efficientnet_b4", "ap_in1k", 380, 0.922, 83.25, file="tf_efficientnet_b4_ap-dedb23e6", half=True),
    _row("tf_efficientnet_b4", "in1k", 380, 0.922, 82.6, file="tf_efficientnet_b4-74ee3bed"),
    _row("tf_efficientnet_b4", "ns_jft_in1k", 380, 0.922, 85.16, file="tf_efficientnet_b4_ns-d6313a46", default=True),
    _row("tf_efficientnet_b5", "aa_in1k", 456, 0.934, 83.7, file="tf_efficientnet_b5_aa-99018a74"),
    _row("tf_efficientnet_b5", "ap_in1k", 456, 0.934, 84.26, file="tf_efficientnet_b5_ap-9e82fae8", half=True),
    _row("tf_efficientnet_b5", "in1k", 456, 0.934, 83.17, file="tf_efficientnet_b5-c6949ce9"),
    _row("tf_efficientnet_b5", "ns_jft_in1k", 456, 0.934, 86.1, file="tf_efficientnet_b5_ns-6f26d0cf", default=True),
    _row("tf_efficientnet_b5", "ra_in1k", 456, 0.934, 83.83, file="tf_efficientnet_b5_ra-9a3e5369"),
    _row("tf_efficientnet_b6", "aa_in1k", 528, 0.942, 84.12, file="tf_efficientnet_b6_aa-80ba17e4"),
    _row("tf_efficientnet_b6", "ap_in1k", 528, 0.942, 84.79, file="tf_efficientnet_b6_ap-4ffb161f", half=True),
    _row("tf_efficientnet_b6", "ns_jft_in1k", 528, 0.942, 86.48, file="tf_efficientnet_b6_ns-51548356", default=True),
    _row("tf_efficientnet_b7", "aa_in1k", 600, 0.949, 84.42, file="tf_efficientnet_b7_aa-076e3472"),
    _row("tf_efficientnet_b7", "ap_in1k", 600, 0.949, 85.13, file="tf_efficientnet_b7_ap-ddb28fec", half=True),
    _row("tf_efficientnet_b7", "ns_jft_in1k", 600, 0.949, 86.85, file="tf_efficientnet_b7_ns-1dbc32de", default=True),
    _row("tf_efficientnet_b7", "ra_in1k", 600, 0.949, 84.93, file="tf_efficientnet_b7_ra-6c08e654"),
    _row(
        "tf_efficientnet_b8",
        "ap_in1k",
        672,
        0.954,
        85.36,
        file="tf_efficientnet_b8_ap-00e169fa",
        half=True,
        default=True,
    ),
    _row("tf_efficientnet_b8", "ra_in1k", 672, 0.954, 85.34, file="tf_efficientnet_b8_ra-572d5dd9"),
    _row("tf_efficientnet_l2", "ns_jft_in1k", 800, 0.96, 88.36, file="tf_efficientnet_l2_ns-df73bb44"),
    _row(
        "tf_efficientnet_l2",
        "ns_jft_in1k_475",
        475,
        0.936,
        88.25,
        file="tf_efficientnet_l2_ns_475-bebbd00a",
        default=True,
    ),
    _lite(0, 224, 0.875, 74.85, "0aa007d2"),
    _lite(1, 240, 0.882, 76.67, "bde8b488"),
    _lite(2, 260, 0.89, 77.47, "dcccb7df"),
    _lite(3, 300, 0.904, 79.81, "b733e338", interpolation="bilinear"),
    _lite(4, 380, 0.92, 81.54, "741542c3", interpolation="bilinear"),
    _row("tf_efficientnetv2_b0", "in1k", 224, 0.875, 78.39, file="tf_efficientnetv2_b0-c7cc451f", default=True),
    _row("tf_efficientnetv2_b1", "in1k", 240, 0.882, 79.52, file="tf_efficientnetv2_b1-be6e41b0", default=True),
    _row("tf_efficientnetv2_b2", "in1k", 260, 0.89, 80.23, file="tf_efficientnetv2_b2-847de54e", default=True),
    _row("tf_efficientnetv2_b3", "in1k", 300, 0.904, 81.96, file="tf_efficientnetv2_b3-57773f13"),
    _row("tf_efficientnetv2_b3", "in21k", 300, 0.904, None, half=True, classes="imagenet21k"),
    _row("tf_efficientnetv2_b3", "in21k_ft_in1k", 300, 0.9, 82.63, half=True, resize="stretch", default=True),
    _v2("l", "in1k", 480, 85.66, "-d664b728"),
    _v2("l", "in21k", 480, None, "_21k-91a19ec9"),
    _v2("l", "in21k_ft_in1k", 480, 86.8, "_21ft1k-60127a9d"),
    _v2("m", "in1k", 480, 85.21, "-cc09e0cd"),
    _v2("m", "in21k", 480, None, "_21k-361418a2"),
    _v2("m", "in21k_ft_in1k", 480, 86.01, "_21ft1k-bf41664a"),
    _v2("s", "in1k", 384, 83.9, "-eb54923e", resize="center_crop"),
    _v2("s", "in21k", 384, None, "_21k-6337ad01", resize="center_crop"),
    _v2("s", "in21k_ft_in1k", 384, 84.33, "_21ft1k-d7dafa41", resize="center_crop"),
    _v2("xl", "in21k", 512, None, "_in21k-fd7e8abf"),
    _v2("xl", "in21k_ft_in1k", 512, 86.75, "_in21ft1k-06c35c48"),
)
