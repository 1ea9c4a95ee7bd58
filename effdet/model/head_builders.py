"""Head kinds by name. A new task adds its head's file and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from effdet.model.spec import HeadSpec
from heads.classification import ClassificationHead
from heads.detection import AnchorSpec, DetectionHead, DetectionLoss, PostProcess
from heads.embedding import EmbeddingHead
from heads.semantic import AuxiliaryHead, SemanticHead
from heads.semantic_losses import SemanticLoss
from heads.structures import ClassTable, UserError


def _detection(options: dict[str, Any], widths: Mapping[str, int], classes: ClassTable) -> nn.Module:
    levels = tuple(options.pop("levels"))
    anchors = dict(options.pop("anchors"))
    anchors["aspects"] = tuple((float(x), float(y)) for x, y in anchors["aspects"])
    head = DetectionHead(
        widths[levels[0]],
        len(classes),
        levels=levels,
        anchors=AnchorSpec(**anchors),
        loss=DetectionLoss(**options.pop("loss", {})),
        postprocess=PostProcess(**options.pop("postprocess", {})),
        **options,
    )
    head.named_classes.copy_(torch.tensor(classes.named))
    return head


def _classification(options: dict[str, Any], widths: Mapping[str, int], classes: ClassTable) -> nn.Module:
    return ClassificationHead(widths["C5"], len(classes), **options)


def _semantic(options: dict[str, Any], widths: Mapping[str, int], classes: ClassTable) -> nn.Module:
    side = {key: value for key, value in options.pop("auxiliary", {}).items() if value is not None}
    layers = {key: options[key] for key in ("activation", "padding") if key in options}
    auxiliary = AuxiliaryHead(widths[side["level"]], len(classes), **side, **layers) if side.get("level") else None
    loss = SemanticLoss(**options.pop("loss", {}))
    levels = options["levels"]
    return SemanticHead(widths[levels[0]], len(classes), auxiliary=auxiliary, loss=loss, **options)


def _embedding(options: dict[str, Any], widths: Mapping[str, int], classes: ClassTable) -> nn.Module:
    return EmbeddingHead(widths["C5"], len(classes), **options)


HEADS: dict[str, Callable[[dict[str, Any], Mapping[str, int], ClassTable], nn.Module]] = {
    "detection": _detection,
    "semantic": _semantic,
    "classification": _classification,
    "embedding": _embedding,
}


def build_head(spec: HeadSpec, widths: Mapping[str, int], classes: ClassTable) -> nn.Module:
    """The head of `spec` on levels of `widths` channels.

    Raises:
        UserError: the kind is unknown.
    """
    if spec.kind not in HEADS:
        raise UserError(f"head kind {spec.kind!r} is unknown; use one of {', '.join(HEADS)}")
    return HEADS[spec.kind](dict(spec.options), widths, classes)
