"""What a head is: features in, raw output out, a loss from it in training and a prediction from it afterwards.

The model (:class:`effdet.model.VisionModel`) knows heads only by this contract. Nothing has to be inherited: any module with
these members is a head. What a head may offer besides stands in a protocol of its own below, and is used where it is there.

    forward(features, context)          levels of backbone and neck -> output
    loss(output, targets, context)      output and labels           -> terms, whose sum is minimised
    predict(output, context)            output                      -> what a user sees, in input pixels
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self, runtime_checkable

from torch import Tensor, nn

from backbones.layers import Conv2d
from heads.pseudo_labels import PseudoLabels
from heads.structures import Geometry, Targets, UserError

FoldNorm = Callable[[Conv2d, nn.BatchNorm2d], Conv2d]
"""One BatchNorm folded into the convolution before it."""


@dataclass(frozen=True)
class Context:
    """What a head may know of the batch beside its own features and output."""

    image_size: tuple[int, int]
    """(height, width) of the network input, pixels."""
    images: Tensor | None = None
    """(B, 3, H, W) float, normalised; None where the caller has none, as after an exported graph."""
    progress: float | Tensor = 1.0
    """Share of the training steps that are done, 0 to 1, as a number or a () float32 tensor; 1 outside of training."""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """By head name, the outputs of the heads in ``in_heads``."""
    assignments: Mapping[str, Any] = field(default_factory=dict)
    """By head name, what heads that :class:`Assigns` have assigned: for a head, those of ``in_heads``. Empty but in a loss."""
    assignment: Any = None
    """The head's own, where it is known already: another head reads it, or the caller wants the same again."""

    @classmethod
    def of(cls, images: Tensor, progress: float | Tensor = 1.0) -> Self:
        """Of normalised `images` (B, 3, H, W)."""
        return cls((images.shape[2], images.shape[3]), images, progress)

    def reading(
        self, head: Head, outputs: Mapping[str, Any], assignments: Mapping[str, Any] | None = None, own: Any = None
    ) -> Self:
        """The same, with what `head` reads of others' `outputs` and `assignments`, and its `own` assignment."""
        if not head.in_heads and own is None:
            return self
        found, known = assignments or {}, {**self.outputs, **outputs}
        return replace(
            self,
            outputs={name: known[name] for name in head.in_heads},
            assignments={name: found[name] for name in head.in_heads if name in found},
            assignment=own,
        )


@runtime_checkable
class Head(Protocol):
    """The last stage of a model, for one task."""

    in_levels: Sequence[str]
    """Features that it reads, such as ``("P3", "P4")`` or ``("C5",)``; the neck is built so that they are there."""
    in_heads: Sequence[str]
    """Names of the heads that run before it, since it reads their outputs or assignments."""

    def __call__(self, features: Mapping[str, Tensor], context: Context) -> Any: ...

    def forward(self, features: Mapping[str, Tensor], context: Context) -> Any:
        """Level name -> (B, channels, h, w) becomes the raw output: a tensor, or a dataclass of tensors."""
        ...

    def loss(self, output: Any, targets: Targets, context: Context) -> dict[str, Tensor]:
        """Weighted float32 scalars by name; all connected to the network, even where the batch labels nothing for the head."""
        ...

    def predict(self, output: Any, context: Context) -> Any:
        """What the output means, in input pixels: :class:`heads.structures.Detections`, segmentation maps, scores."""
        ...


@runtime_checkable
class Foldable(Protocol):
    """A head with BatchNorms outside of blocks of one convolution and one norm, which :func:`effdet.model.fold` folds."""

    def fold(self, fold_norm: FoldNorm) -> None:
        """Fold every such BatchNorm into the convolution before it. The head can only predict after it."""
        ...


@runtime_checkable
class Counts(Protocol):
    """A head whose loss is divided by what the whole optimiser step counts (:mod:`heads.ranks`)."""

    @property
    def counts_predictions(self) -> bool:
        """Whether what the loss counts depends on the predictions; then the loss itself is run to count."""
        ...

    def count(self, output: Any, targets: Targets, context: Context) -> None:
        """Makes the calls of :mod:`heads.ranks` that the loss makes, from the targets. Only where predictions don't count.

        Args:
            output: of any images of the same size, for its shapes.
            targets: of the batch to count.
            context: its `images` are not those of `targets`.
        """
        ...


@runtime_checkable
class Labelled(Protocol):
    """A head that can say whether a batch is labelled for it; of others, a loss above 0 says so."""

    def labelled(self, targets: Targets) -> bool | Tensor:
        """A bool, or () bool."""
        ...


@runtime_checkable
class RowsByClass(Protocol):
    """A head whose last layers have rows that are classes: weights of other classes are taken over row by row."""

    class_layers: Sequence[str]
    """Modules whose output channels are classes."""
    prior: float | None
    """Of the rows of classes that the weights lack, see :func:`heads.prior.initial_rows`. Without it they keep the values that
    they have."""


@runtime_checkable
class Restores(Protocol):
    """A head whose prediction lies in the image, and is not :class:`heads.structures.Detections`."""

    def restore(self, prediction: Any, geometries: Sequence[Geometry]) -> Any:
        """The prediction in input pixels -> in each image's ORIGINAL pixels."""
        ...


@runtime_checkable
class Assigns(Protocol):
    """A head whose choice of responsible places (anchors, cells, queries) other heads can read."""

    def assign(self, output: Any, targets: Targets, context: Context) -> Any:
        """Which place of the output answers for which target."""
        ...


@dataclass(frozen=True)
class SharedClasses:
    """The classes that a head and its teacher have in common, by name."""

    own: tuple[int, ...]
    """Rows of the head's logits."""
    teacher: tuple[int, ...]
    """The same classes' rows of the teacher's logits, one for each of `own`."""


@runtime_checkable
class Distils(Protocol):
    """A head that can be trained on the raw output of a head of its kind in another model, the teacher."""

    def cannot_learn_from(self, teacher: Any, shared: SharedClasses) -> str | None:
        """Why the output of the head `teacher`, for images of the same size, is no target for this one; None where it is."""
        ...

    def distil(self, output: Any, teacher: Any, shared: SharedClasses, *, temperature: float) -> dict[str, Tensor]:
        """Float32 scalars by name: means over the images, connected to `output`; `teacher` is the other's output, without
        gradient."""
        ...


@runtime_checkable
class LearnsUnlabelled(Protocol):
    """A head that can be trained on images without labels, by what the averaged model says of a weaker view of them."""

    pseudo_terms: Sequence[str]
    """Names of the terms of :meth:`pseudo_loss`."""

    def pseudo_labels(self, output: Any, *, confidence: float) -> PseudoLabels:
        """Targets from the raw output of this head in the averaged model.

        Args:
            confidence: least probability of a class that is a target, for heads whose classes exclude each other.
        """
        ...

    def pseudo_loss(self, output: Any, labels: PseudoLabels) -> dict[str, Tensor]:
        """Float32 scalars by name: means over the images."""
        ...


def check_head(name: str, head: Any) -> None:
    """Raises UserError where `head` lacks a member of :class:`Head`."""
    if missing := [member for member in ("in_levels", "in_heads", "loss", "predict") if not hasattr(head, member)]:
        raise UserError(f"head {name!r} ({type(head).__name__}) lacks {', '.join(missing)}; see heads.protocol.Head")


def run_order(heads: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of `heads` such that each stands after those that it reads; otherwise in their own order.

    Raises:
        UserError: a module that is not a head, a head that reads one that the model lacks, or heads that read each other.
    """
    for name, head in heads.items():
        check_head(name, head)
        if stray := [other for other in head.in_heads if other not in heads]:
            raise UserError(f"head {name!r} reads head {stray[0]!r}; the model has {', '.join(heads)}")
    order: list[str] = []
    while waiting := [name for name in heads if name not in order]:
        ready = next((name for name in waiting if set(heads[name].in_heads) <= set(order)), None)
        if ready is None:
            raise UserError(
                f"heads {', '.join(waiting)} read each other's outputs in a circle; one of them must come first"
            )
        order.append(ready)
    return tuple(order)
