"""Images without labels: the averaged model labels a weak view of them, and the model in training learns the strong view.

The loss is 0 for a first share of the run, and its weight then rises (:class:`effdet.training.settings.PseudoLabelSettings`),
both by the share of optimiser steps that is done. Which images a micro-batch has is a function of how many were trained before
it: the set is gone through in epochs of its own, whatever an epoch of the labelled images is. So a resume needs no state of the
loader.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from effdet.plurals import counted
from effdet.training.extra_losses import ExtraLoss
from effdet.training.loader import LoaderFactory, TrainBatches
from effdet.training.settings import PseudoLabelSettings
from heads.protocol import Context, LearnsUnlabelled
from heads.ranks import summed
from heads.structures import Batch, UserError


class UnlabelledLoss(ExtraLoss):
    """The loss of images without labels.

    Args:
        model: in training; its heads say what they can learn.
        batches: builds the loader of one process, each batch with the weak views first and then the strong ones.
        ratio: images without labels for each labelled one.
        images: of the set.
        name: of the set, for messages.
        fingerprint: of the set, for a resume.

    Raises:
        UserError: no head can learn from such images.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: LoaderFactory,
        settings: PseudoLabelSettings,
        *,
        ratio: float,
        images: int,
        name: str,
        fingerprint: str,
    ) -> None:
        super().__init__()
        self.settings, self.ratio = settings, ratio
        self._images_of_set, self._name, self._fingerprint = images, name, fingerprint
        heads: dict[str, Any] = dict(model.heads.items())  # type: ignore[union-attr,operator]
        self.terms = {name: head.pseudo_terms for name, head in heads.items() if isinstance(head, LearnsUnlabelled)}
        if not self.terms:
            raise UserError(
                f"data.unlabelled={name}: {', '.join(heads)} can't learn from images without labels: leave it out"
            )
        self.names = {head: [str(label) for label in model.classes[head].names] for head in self.terms}  # type: ignore[index]
        for head, names in self.names.items():
            self.register_buffer(f"{head}_counts", torch.zeros(len(names)))
            self.register_buffer(f"{head}_confidence", torch.zeros(2))  # sum, and of how many
        self._batches = batches
        self._loader: TrainBatches | None = None
        self._iterator: Iterator[Batch] | None = None
        self._number = -1
        """Of the micro-batch that was read last, counted over the run."""

    def __str__(self) -> str:
        settings = self.settings
        lines = [
            f"unlabelled: {self._name}, {counted(self._images_of_set, 'image', ',')}, {self.ratio:g} for each labelled one; "
            "the averaged model labels them",
            f"  pseudo-labels of {', '.join(self.terms)}: after {settings.start:.0%} of the steps, and from "
            f"{min(settings.start + settings.ramp, 1):.0%} on with weight {settings.weight:g}",
        ]
        return "\n".join(lines)

    def facts(self) -> dict[str, Any]:
        """What of it decides the steps of a run, for its resume: plain values."""
        return {"images": self._fingerprint, "ratio": self.ratio, **asdict(self.settings)}

    def weight(self, progress: float) -> float:
        """Of the loss where this share of the run's steps is done."""
        since, ramp = progress - self.settings.start, self.settings.ramp
        if since < 0:
            return 0.0
        return self.settings.weight * (min(since / ramp, 1.0) if ramp > 0 else 1.0)

    def forward(self, model: nn.Module, batch: Batch, outputs: dict[str, Any], context: Context) -> dict[str, Tensor]:
        run = self.run
        assert run is not None and run.average is not None, "attached before the first step"
        weight = self.weight(float(context.progress))
        if weight == 0:
            zero = batch.images.new_zeros((), dtype=torch.float32)
            return {f"unlabelled/{head}_{term}": zero for head, terms in self.terms.items() for term in terms}
        views = self._views(run.number(), len(batch), run.rank, run.world).to(batch.images.device, non_blocking=True)
        weak, strong = views.images.chunk(2)
        return self._terms(model, run.average, weak, strong, weight, context)

    def trial(self, model: nn.Module, batch: Batch, outputs: dict[str, Any], context: Context) -> dict[str, Tensor]:
        """The batch's own images stand for those without labels."""
        images = batch.images.repeat(max(round(self.ratio), 1) + 1, 1, 1, 1)[: self._images(len(batch))]
        return self._terms(model, model, images, images, self.settings.weight, context)

    def epoch_values(self) -> dict[str, float]:
        """What the pseudo-labels were since the last call: how much of each class, and the mean confidence."""
        found = dict[str, float]()
        for head, names in self.names.items():
            counts, confidence = self.get_buffer(f"{head}_counts"), self.get_buffer(f"{head}_confidence")
            total, number = confidence.tolist()
            if number > 0:
                amounts = zip(names, counts.tolist(), strict=True)
                found |= {f"pseudo/{head}/{name}": amount for name, amount in amounts}
                found[f"pseudo/{head}_confidence"] = total / number
            counts.zero_()
            confidence.zero_()
        return found

    def close(self) -> None:
        if self._loader is not None:
            self._loader.close()

    def _images(self, labelled: int) -> int:
        return max(round(labelled * self.ratio), 1)

    def _views(self, number: int, labelled: int, rank: int, world: int) -> Batch:
        """Those of micro-batch `number`, counted over the run."""
        if self._loader is None:
            self._loader = self._batches(batch_size=self._images(labelled), rank=rank, world=world)
            self._loader.set_epoch(0, 0)
            self._epoch_batches = len(self._loader)
        epoch, start = divmod(number, self._epoch_batches)
        if self._iterator is None or number != self._number + 1 or start == 0:
            self._loader.set_epoch(epoch, start)
            self._iterator = iter(self._loader)
        self._number = number
        return next(self._iterator)

    def _terms(
        self, model: nn.Module, teacher: nn.Module, weak: Tensor, strong: Tensor, weight: float, context: Context
    ) -> dict[str, Tensor]:
        assert context.images is not None
        if context.images.is_contiguous(memory_format=torch.channels_last):
            weak, strong = (view.contiguous(memory_format=torch.channels_last) for view in (weak, strong))
        normalise: Any = model.preprocess.normalise  # type: ignore[union-attr]
        progress = torch.full((), float(context.progress), device=weak.device)
        with torch.no_grad():
            said = teacher(normalise(weak), progress)
        outputs, found = model(normalise(strong), progress), dict[str, Tensor]()
        for name in self.terms:
            head: Any = model.heads[name]  # type: ignore[index]
            labels = head.pseudo_labels(said[name], confidence=self.settings.confidence)
            self._note(name, labels.counts, torch.stack([labels.confidence, labels.number]))
            terms = head.pseudo_loss(outputs[name], labels)
            found |= {f"unlabelled/{name}_{term}": weight * value for term, value in terms.items()}
        return found

    def _note(self, head: str, counts: Tensor, confidence: Tensor) -> None:
        """Adds up over all processes, so that each holds the same."""
        together = summed(torch.cat([counts, confidence]).float())
        self.get_buffer(f"{head}_counts").add_(together[:-2])
        self.get_buffer(f"{head}_confidence").add_(together[-2:])
