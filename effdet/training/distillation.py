"""A teacher: a larger model whose maps and logits the model in training learns beside its labels.

It costs a pass of the teacher in each step of training, and nothing afterwards: neither the teacher nor the projections are
part of the model.

    maps     neck levels of equal name, by channel-wise distillation (:func:`heads.distillation.channel_wise`). Where the widths
             differ, the model's map passes a 1x1 convolution first, which is trained with it. This loss, and not a squared
             difference, since the maps of two necks have scales of their own: it compares where each channel fires, needs no
             statistics over the batch, and so is the same over processes and micro-batches.
    logits   of heads of one name, over the classes that both know by name (:class:`heads.protocol.Distils`).

The teacher sees the very canvas that the model sees, with its own pixel statistics: positions and anchors then agree, whatever
size it was trained at. It runs in evaluation mode without gradients, folded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effdet.model import VisionModel, fold
from effdet.model.vision_model import FEATURES
from effdet.plurals import counted
from effdet.training.extra_losses import ExtraLoss
from effdet.training.settings import DistillationSettings
from effdet.weights.hashes import tensors_hash
from heads.class_names import same_names
from heads.distillation import channel_wise
from heads.protocol import Context, Distils, SharedClasses
from heads.structures import Batch, ClassTable, UserError


@dataclass(frozen=True)
class SharedMap:
    """A neck level that both models have."""

    level: str
    own: int
    """Channels of the model's."""
    teacher: int
    """Channels of the teacher's."""


class Distillation(ExtraLoss):
    """The loss of a teacher.

    Args:
        model: in training, on the CPU; it is run once, on one empty image, and not changed.
        teacher: of the same task; it is copied.
        name: of the teacher, for messages.
        settings: weights and temperature.
        seed: of the projections' first weights.

    Attributes:
        maps: what is compared of the necks.
        heads: the classes that are compared, by head.
        skipped: what is not, by head, and why.

    Raises:
        UserError: a teacher of another task, or one with nothing to learn from.
    """

    def __init__(
        self, model: VisionModel, teacher: VisionModel, *, name: str, settings: DistillationSettings, seed: int
    ) -> None:
        super().__init__()
        self.settings, self.name = settings, name
        self._hash = tensors_hash(teacher)
        self._millions = sum(parameter.numel() for parameter in teacher.parameters()) / 1e6
        self._classes = {head: len(table) for head, table in model.classes.items()}
        own, other = ", ".join(model.heads), ", ".join(teacher.heads)
        if not set(model.heads) & set(teacher.heads):
            raise UserError(f"teacher={name}: it has a head {other}, this model {own}; use a teacher of the same task")
        self.heads, self.skipped = _heads(model, teacher) if settings.logits > 0 else ({}, {})
        self.maps = _maps(model, teacher) if settings.features > 0 else ()
        self.levels = tuple(item.level for item in self.maps)
        if not self.heads and not self.maps:
            reasons = "; ".join(f"{head}: {reason}" for head, reason in self.skipped.items())
            raise UserError(
                f"teacher={name}: nothing to learn from it: no level of the necks is compared (distillation.features="
                f"{settings.features:g}) and no head's logits (distillation.logits={settings.logits:g}"
                f"{'; ' + reasons if reasons else ''})"
            )
        generator = torch.Generator().manual_seed(seed)
        self.projections = nn.ModuleDict(
            {item.level: _projection(item, generator) for item in self.maps if item.own != item.teacher}
        )
        self._teacher = (fold(teacher).model,)  # in a tuple, so that it is no part of this module's state
        pixels, others = model.preprocess, teacher.preprocess
        self._same_pixels = (pixels.mean, pixels.std) == (others.mean, others.std)

    def companions(self) -> Iterable[nn.Module]:
        return self._teacher

    def forward(self, model: nn.Module, batch: Batch, outputs: dict[str, Any], context: Context) -> dict[str, Tensor]:
        with torch.no_grad():
            target = self.teacher(self._images(batch, context), levels=self.levels)
        terms = dict[str, Tensor]()
        if self.maps:
            each = [self._map_loss(item.level, outputs[FEATURES], target[FEATURES]) for item in self.maps]
            terms["distillation/features"] = self.settings.features * torch.stack(each).mean()
        for name, shared in self.heads.items():
            head: Any = model.heads[name]  # type: ignore[index]
            found = head.distil(outputs[name], target[name], shared, temperature=self.settings.temperature)
            terms |= {f"distillation/{name}_{term}": self.settings.logits * value for term, value in found.items()}
        return terms

    def facts(self) -> dict[str, Any]:
        """What of it decides the steps of a run, for its resume: plain values."""
        return {"sha256": self._hash, **asdict(self.settings)}

    @property
    def teacher(self) -> VisionModel:
        """The folded copy."""
        return self._teacher[0]

    def __str__(self) -> str:
        """What is compared, a line each."""
        settings = self.settings
        lines = [
            f"teacher: {self.name} ({self.teacher.spec.name}, {self._millions:.1f} million parameters), not trained"
        ]
        if self.maps:
            widths = {(item.own, item.teacher) for item in self.maps}
            shown = ", ".join(f"{own} -> {other}" for own, other in sorted(widths) if own != other)
            projected = f", projected {shown} channels" if shown else ""
            lines.append(
                f"  maps: {', '.join(self.levels)}{projected}; channel-wise, weight {settings.features:g}, temperature "
                f"{settings.temperature:g}"
            )
        for name, shared in self.heads.items():
            lines.append(
                f"  logits: {name}, {counted(len(shared.own), 'class')} by name of {self._classes[name]}; weight "
                f"{settings.logits:g}"
            )
        lines += [f"  not compared: logits of {name}: {reason}" for name, reason in self.skipped.items()]
        return "\n".join(lines)

    def _images(self, batch: Batch, context: Context) -> Tensor:
        """The batch's images with the teacher's pixel statistics, in the memory format that the model has them in."""
        assert context.images is not None
        if self._same_pixels:
            return context.images
        last = context.images.is_contiguous(memory_format=torch.channels_last)
        return self.teacher.preprocess.normalise(
            batch.images.contiguous(memory_format=torch.channels_last) if last else batch.images
        )

    def _map_loss(self, level: str, own: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> Tensor:
        x, target = own[level], teacher[level]
        if level in self.projections:
            x = self.projections[level](x)
        if x.shape[2:] != target.shape[2:]:  # backbones that round an odd side differently
            target = F.interpolate(target.float(), size=x.shape[2:], mode="bilinear", align_corners=False)
        with torch.autocast(x.device.type, enabled=False):
            return channel_wise(x, target, self.settings.temperature)


def _maps(model: VisionModel, teacher: VisionModel) -> tuple[SharedMap, ...]:
    own, other = model.neck, teacher.neck
    if own is None or other is None:
        return ()
    made = other.spec.outputs or other.levels
    levels = [level for level in own.spec.outputs or own.levels if level in made]
    return tuple(SharedMap(level, own.channels, other.channels) for level in levels)


def _heads(model: VisionModel, teacher: VisionModel) -> tuple[dict[str, SharedClasses], dict[str, str]]:
    """Heads whose logits are compared, and why others of the same name are not."""
    found, skipped = dict[str, SharedClasses](), dict[str, str]()
    for name, head in model.heads.items():
        if name not in teacher.heads:
            skipped[name] = "the teacher has no such head"
            continue
        shared = shared_classes(model.classes[name], teacher.classes[name])
        reason = "it can't" if not isinstance(head, Distils) else head.cannot_learn_from(teacher.heads[name], shared)
        if reason is None:
            found[name] = shared
        else:
            skipped[name] = reason
    return found, skipped


def shared_classes(own: ClassTable, teacher: ClassTable) -> SharedClasses:
    """The classes of two tables that have one name (:func:`heads.class_names.same_names`)."""
    rows = [(row, other) for row, other in enumerate(same_names(own.names, teacher.names)) if other >= 0]
    return SharedClasses(tuple(row for row, _ in rows), tuple(other for _, other in rows))


def _projection(item: SharedMap, generator: torch.Generator) -> nn.Conv2d:
    """1x1, uniform as the neck's own convolutions are, bias 0."""
    layer = nn.Conv2d(item.own, item.teacher, 1)
    nn.init.xavier_uniform_(layer.weight, generator=generator)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer
