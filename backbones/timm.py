"""Any network of timm (Wightman, 2019) that offers ``features_only``, as a backbone.

timm's networks differ in how they round sizes: a stem that cuts the image into patches rounds down, strided convolutions
round up. Here an image is padded with zeros on the right and at the bottom to a multiple of 32, where all agree, and the
maps are cut to ``ceil(size / stride)``, as necks and anchors expect. Networks whose attention is tied to one image size are
built with the option that unties it where timm has one, else refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones.protocol import LEVELS, check_strides

UNTIED = ("strict_img_size", False), ("dynamic_img_size", True)
"""Options by which a timm network takes images of any size, where it doesn't by itself."""


class TimmBackbone(nn.Module):
    """``timm.create_model(name, features_only=True)`` with fresh weights.

    Args:
        name: of timm, with or without the tag of its pretrained weights (``convnext_atto``, ``resnet18.a1_in1k``).
        drop_path: stochastic depth; None is the network's own.
        options: further arguments of ``timm.create_model``.

    Attributes:
        channels, strides: of the maps, for each stride out of 2, 4, 8, 16, 32 that the network has.
        mean, std, image_size, interpolation, crop: the preprocessing that timm's pretrained weights were made with.
        sources: of timm's weights, ``hf_hub_id``, ``hf_hub_filename``, ``url`` and ``license``, those that there are.

    Raises:
        ValueError: there is no such network, it takes no such option, or lacks maps at strides 8, 16, 32.
    """

    def __init__(self, name: str, *, drop_path: float | None = None, options: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.name = name
        known = dict(options or {})
        if drop_path is not None:
            known["drop_path_rate"] = drop_path
        self.net, facts = _created(name, known)
        info = cast(Any, self.net).feature_info
        strides = tuple(info.reduction())
        check_strides(f"timm {name}", strides)
        self.strides, self.channels = strides, tuple(info.channels())
        self._channels_last = str(getattr(self.net, "output_fmt", "")).endswith("NHWC")
        self.mean, self.std = (tuple(map(float, facts[key])) for key in ("mean", "std"))
        self.image_size = int(facts["input_size"][-1])
        self.interpolation = str(facts.get("interpolation") or "bilinear")
        self.crop = float(facts.get("crop_pct") or 1.0)
        keys = ("hf_hub_id", "hf_hub_filename", "url", "license")
        self.sources = {key: str(facts[key]) for key in keys if facts.get(key)}

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) float images -> maps, each (B, channels[i], ceil(H / strides[i]), ceil(W / strides[i]))."""
        height, width = images.shape[2:]
        bottom, right = -height % 32, -width % 32
        if bottom or right:
            images = F.pad(images, (0, right, 0, bottom))
        maps = self.net(images)
        if self._channels_last:
            maps = [x.permute(0, 3, 1, 2) for x in maps]  # (B, H, W, C) -> (B, C, H, W)
        if bottom or right:
            sizes = [(math.ceil(height / stride), math.ceil(width / stride)) for stride in self.strides]
            maps = [x[:, :, :high, :wide] for x, (high, wide) in zip(maps, sizes, strict=True)]
        return list(maps)

    @property
    def grad_checkpointing(self) -> bool:
        """Keep only the blocks' inputs in training. timm's BatchNorms then count each batch twice in their statistics."""
        return any(getattr(module, "grad_checkpointing", False) for module in self.net.modules())

    @grad_checkpointing.setter
    def grad_checkpointing(self, value: bool) -> None:
        try:
            cast(Any, self.net).set_grad_checkpointing(value)
        except (AttributeError, AssertionError):
            raise ValueError(f"grad_checkpointing=true: timm's {self.name} doesn't offer it") from None

    def own_key(self, key: str) -> str | None:
        """The name in this module of a tensor of timm's whole network, or None where that part is not in it.

        ``features_only`` names ``stages.0`` as ``stages_0`` in some networks, and leaves out what follows the last map.
        """
        parts = key.split(".")
        for prefix in ("", "model."):
            for count in (2, 1):
                first = prefix + "_".join(parts[:count])
                if len(parts) > count and first in self._parts:
                    return ".".join(("net", first, *parts[count:]))
        return None

    @property
    def _parts(self) -> set[str]:
        """The parts that hold tensors, by name; behind ``model.`` where timm wraps a whole network."""
        names = [key.split(".") for key in self.net.state_dict()]
        return {".".join(name[: 2 if name[0] == "model" else 1]) for name in names}

    @torch.no_grad()
    def fold(self, fold_norm: Callable[[Any, Any], nn.Module]) -> None:
        """Fold each BatchNorm into the convolution whose output it takes; the others stay.

        The pairs are found by a pass over zeros, since timm's networks name and order their layers in many ways.
        """
        made: dict[int, tuple[str, Tensor]] = {}
        pairs: dict[str, str] = {}
        calls: dict[str, int] = {}
        modules = dict(self.net.named_modules())

        def after(name: str) -> Callable[..., None]:
            def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
                calls[name] = calls.get(name, 0) + 1
                if isinstance(module, nn.Conv2d):
                    made[id(output)] = (name, output)  # held, so that no other tensor gets its id
                elif inputs and (found := made.get(id(inputs[0]))) is not None:
                    pairs[name] = found[0]

            return hook

        handles = [
            module.register_forward_hook(after(name))
            for name, module in modules.items()
            if isinstance(module, nn.Conv2d | nn.BatchNorm2d)
        ]
        weight = next(self.parameters())
        try:
            self.eval().net(torch.zeros(1, 3, 64, 96, device=weight.device, dtype=weight.dtype))
        finally:
            for handle in handles:
                handle.remove()
        for norm_name, conv_name in pairs.items():
            norm, conv = modules[norm_name], modules[conv_name]
            whole = isinstance(norm, nn.BatchNorm2d) and norm.affine and norm.track_running_stats
            if not whole or calls[norm_name] > 1 or calls[conv_name] > 1:
                continue
            _replace(self.net, conv_name, fold_norm(conv, norm))
            # timm's BatchNorms may hold an activation too, which comes after
            rest = [getattr(norm, part) for part in ("drop", "act") if hasattr(norm, part)]
            _replace(self.net, norm_name, nn.Sequential(*rest) if rest else nn.Identity())


def _created(name: str, options: dict[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """The network, with each stride of ``LEVELS`` once, and what timm says of its pretrained weights."""
    try:
        import timm
    except ImportError:
        raise ValueError(f"backbone timm {name} needs timm: pip install 'effdet-lightning[timm]'") from None
    if not timm.is_model(name) or ":" in name or "/" in name:
        from difflib import get_close_matches

        near = get_close_matches(name.partition(".")[0], timm.list_models(), n=1)
        raise ValueError(f"timm has no network {name!r}" + (f"; did you mean {near[0]}?" if near else ""))
    try:
        facts = timm.models.get_pretrained_cfg(name)
    except RuntimeError:
        tags = ", ".join(timm.list_pretrained(f"{name.partition('.')[0]}.*")) or "none"
        raise ValueError(f"timm has no weights {name!r} of that network; it has {tags}") from None
    values = (facts or timm.models.PretrainedCfg(input_size=(3, 224, 224))).to_dict()
    if values.get("fixed_input_size") and not {key for key, _ in UNTIED} & set(options):
        options = {**options, **_any_size_option(name)}

    def create(**more: Any) -> nn.Module:
        try:
            return timm.create_model(name, pretrained=False, features_only=True, **options, **more)
        except (TypeError, RuntimeError, AssertionError, AttributeError, ValueError, IndexError) as error:
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            raise ValueError(f"timm cannot build {name} as a backbone: {reason}") from error

    net = create()
    reductions = list(cast(Any, net).feature_info.reduction())
    last = {stride: index for index, stride in enumerate(reductions) if stride in LEVELS}
    if len(last) < len(reductions) and len(last) >= 3:
        net = create(out_indices=tuple(last.values()))
    return net, values


def _any_size_option(name: str) -> dict[str, Any]:
    """The option that lets a network of a fixed image size take any, tried without weights."""
    import timm

    for key, value in UNTIED:
        try:
            with torch.device("meta"):
                cast(Any, timm).create_model(name, pretrained=False, **{key: value})
        except (TypeError, RuntimeError):  # the network has no such argument
            continue
        return {key: value}
    return {}  # check_backbone finds out whether it needs one


def _replace(root: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(root.get_submodule(parent), name, module)
