"""The one model class: a picture walks through backbone, neck and heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from backbones.efficientnet import EfficientNet
from effdet.model.balance import LossBalance
from effdet.model.spec import ModelSpec
from effdet.necks import FeaturePyramid
from effdet.preprocess import Preprocess
from heads.structures import ClassTable, Targets


class VisionModel(nn.Module):
    """Backbone, neck and one or more heads. Built by :func:`effdet.model.build`.

    Args:
        spec: what it was built from; travels with the weights.
        backbone: images -> [C1 … C5].
        neck: features -> pyramid levels, or None where no head wants one.
        heads: by name; each names the levels it takes in ``head.levels``. One may have an ``auxiliary`` head, which works in
            training alone.
    """

    def __init__(
        self, spec: ModelSpec, backbone: EfficientNet, neck: FeaturePyramid | None, heads: Mapping[str, nn.Module]
    ) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = backbone
        self.neck = neck
        self.heads = nn.ModuleDict(heads)
        self.balance = LossBalance(spec.balance, tuple(heads))

    @property
    def preprocess(self) -> Preprocess:
        return self.spec.preprocess

    @property
    def classes(self) -> Mapping[str, ClassTable]:
        return self.spec.classes

    def forward(self, images: Tensor) -> dict[str, Any]:
        """Raw outputs of every head.

        Args:
            images: (B, 3, H, W) float, normalised; any H and W.

        Returns:
            {head name: its output}: a DetectionOutput, semantic logits (B, K, H', W'), class logits (B, K).
        """
        features = {f"C{number}": x for number, x in enumerate(self.backbone(images), start=1)}
        if self.neck is not None:
            features |= self.neck(features)
        height, width = images.shape[2:]
        outputs = {name: head(features, (height, width)) for name, head in self.heads.items()}
        if self.training:
            outputs |= {_aside(name): side(features) for name, side in self._auxiliary()}
        return outputs

    def loss(self, outputs: Mapping[str, Any], targets: Targets) -> dict[str, Tensor]:
        """Weighted float32 loss terms by ``HEAD/TERM``; their sum is what training minimises."""
        terms: dict[str, dict[str, Tensor]] = {
            name: head.loss(outputs[name], targets)  # type: ignore[operator]
            for name, head in self.heads.items()
        }
        for name, side in self._auxiliary():
            if (key := _aside(name)) in outputs:
                terms[name]["auxiliary"] = side.loss(outputs[key], targets, self.heads[name].loss_settings)  # type: ignore[operator]
        return self.balance(terms, self._labelled(targets))

    @property
    def counts_predictions(self) -> bool:
        """Whether what :meth:`loss` counts over an optimiser step depends on the predictions, in any head.

        A head that does not say is taken to.
        """
        return any(getattr(head, "counts_predictions", True) for head in self.heads.values())

    def count(self, outputs: Mapping[str, Any], targets: Targets) -> None:
        """Makes the calls of :mod:`heads.ranks` that :meth:`loss` makes, from the targets alone.

        Only where :attr:`counts_predictions` is False.

        Args:
            outputs: of any images of the same size, for its shapes and anchors.
            targets: of the batch to count.
        """
        for name, head in self.heads.items():
            head.count(outputs[name], targets)  # type: ignore[operator]
        for name, side in self._auxiliary():
            if _aside(name) in outputs:
                side.count(targets, self.heads[name].loss_settings)  # type: ignore[operator]
        self.balance.count(self._labelled(targets))

    def _labelled(self, targets: Targets) -> dict[str, bool | Tensor]:
        """By head with a learned weight, whether the batch labels anything for it; without heads that do not say."""
        heads = {name: self.heads[name] for name in self.balance.log_variance}
        return {name: head.labelled(targets) for name, head in heads.items() if hasattr(head, "labelled")}  # type: ignore[operator]

    def predict(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Each head's answer in input pixels: Detections, class maps or class probabilities."""
        return {name: head.predict(outputs[name]) for name, head in self.heads.items() if name in outputs}  # type: ignore[operator]

    def _auxiliary(self) -> list[tuple[str, nn.Module]]:
        """(head name, its auxiliary head) where there is one."""
        sides = ((name, getattr(head, "auxiliary", None)) for name, head in self.heads.items())
        return [(name, side) for name, side in sides if side is not None]


def _aside(name: str) -> str:
    """The key of an auxiliary head's output."""
    return f"{name}.auxiliary"
