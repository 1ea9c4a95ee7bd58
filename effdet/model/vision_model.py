"""The one model class: an image passes backbone, neck and heads."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn

from backbones.protocol import Backbone, by_level
from effdet.model.balance import LossBalance
from effdet.model.spec import ModelSpec
from effdet.necks import FeaturePyramid
from effdet.preprocess import Preprocess
from heads.protocol import Assigns, Context, Counts, Head, Labelled, run_order
from heads.structures import ClassTable, Targets

FEATURES = "features"
"""The entry of a model's outputs that holds the levels that were asked for."""


class VisionModel(nn.Module):
    """Backbone, neck and one or more heads. Built by :func:`effdet.model.build`.

    Args:
        spec: what it was built from; travels with the weights.
        backbone: images -> a map for each of its strides, C1 … C5.
        neck: features -> pyramid levels, or None where no head wants one.
        heads: by name, see :class:`heads.protocol.Head`.

    Raises:
        UserError: heads that cannot be run in any order, see :func:`heads.protocol.run_order`.
    """

    def __init__(
        self, spec: ModelSpec, backbone: Backbone, neck: FeaturePyramid | None, heads: Mapping[str, nn.Module]
    ) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = backbone
        self.neck = neck
        self.heads = nn.ModuleDict(heads)
        self.balance = LossBalance(spec.balance, tuple(heads))
        self._order = run_order(heads)
        self._read = {other for name in heads for other in self.head(name).in_heads}

    @property
    def preprocess(self) -> Preprocess:
        return self.spec.preprocess

    @property
    def classes(self) -> Mapping[str, ClassTable]:
        return self.spec.classes

    def head(self, name: str) -> Head:
        """The head of that name."""
        return cast(Head, self.heads[name])

    def forward(self, images: Tensor, progress: float | Tensor = 1.0, *, levels: Sequence[str] = ()) -> dict[str, Any]:
        """Raw outputs of every head.

        Args:
            images: (B, 3, H, W) float, normalised; any H and W.
            progress: share of the training steps that are done, see :class:`heads.protocol.Context`.
            levels: features to give back too, for losses that read them: of backbone (C3) or neck (P3).

        Returns:
            {head name: its output}: a DetectionOutput, semantic logits (B, K, H', W'), class logits (B, K). With `levels`,
            :data:`FEATURES` beside them: {level: (B, C, h, w)}.
        """
        features = by_level(self.backbone, self.backbone(images))
        if self.neck is not None:
            features |= self.neck(features)
        context, outputs = Context.of(images, progress), dict[str, Any]()
        for name in self._order:
            head = self.head(name)
            outputs[name] = head(features, context.reading(head, outputs))
        found = {name: outputs[name] for name in self.heads}
        return {**found, FEATURES: {level: features[level] for level in levels}} if levels else found

    def loss(self, outputs: Mapping[str, Any], targets: Targets, context: Context) -> dict[str, Tensor]:
        """Weighted float32 loss terms by ``HEAD/TERM``; their sum is what training minimises.

        Args:
            outputs: of :meth:`forward`.
            targets: of the same images.
            context: ``Context.of(images, progress)`` of the call of :meth:`forward`. With ``assignments``, those of
                :meth:`assign`, heads are trained on them and assign nothing themselves.
        """
        assignments = {**self.assign(outputs, targets, context, names=self._read), **context.assignments}
        found = dict[str, dict[str, Tensor]]()
        for name in self._order:
            head = self.head(name)
            own = context.reading(head, outputs, assignments, assignments.get(name))
            found[name] = head.loss(outputs[name], targets, own)
        return self.balance({name: found[name] for name in self.heads}, self._labelled(targets))

    def assign(
        self, outputs: Mapping[str, Any], targets: Targets, context: Context, *, names: Container[str] | None = None
    ) -> dict[str, Any]:
        """What the heads that assign have assigned, by head name; arguments as for :meth:`loss`.

        Args:
            names: of these heads; None for all that assign.
        """
        found = dict[str, Any]()
        for name in self._order:
            head = self.head(name)
            if isinstance(head, Assigns) and (names is None or name in names) and name not in context.assignments:
                found[name] = head.assign(outputs[name], targets, context.reading(head, outputs, found))
        return found

    @property
    def counts_predictions(self) -> bool:
        """Whether what :meth:`loss` counts over an optimiser step depends on the predictions, in any head.

        A head that does not say is taken to.
        """
        heads = map(self.head, self.heads)
        return any(not isinstance(head, Counts) or head.counts_predictions for head in heads)

    def count(self, outputs: Mapping[str, Any], targets: Targets, context: Context) -> None:
        """Makes the calls of :mod:`heads.ranks` that :meth:`loss` makes, from the targets only.

        Only where :attr:`counts_predictions` is False.

        Args:
            outputs: of any images of the same size, for its shapes and anchors.
            targets: of the batch to count.
            context: of `outputs`.
        """
        for name in self._order:
            head = self.head(name)
            assert isinstance(head, Counts), "a head that cannot count is taken to count predictions"
            head.count(outputs[name], targets, context.reading(head, outputs))
        self.balance.count(self._labelled(targets))

    def _labelled(self, targets: Targets) -> dict[str, bool | Tensor]:
        """By head with a learned weight, whether the batch labels anything for it; without heads that do not say."""
        heads = {name: self.head(name) for name in self.balance.log_variance}
        return {name: head.labelled(targets) for name, head in heads.items() if isinstance(head, Labelled)}

    def predict(self, outputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
        """What each head says, in input pixels: Detections, segmentation maps or class probabilities.

        Args:
            outputs: of :meth:`forward`, or those of some heads.
            context: ``Context.of(images)``.
        """
        found = {name: self.head(name) for name in self.heads if name in outputs}
        return {name: head.predict(outputs[name], context.reading(head, outputs)) for name, head in found.items()}
