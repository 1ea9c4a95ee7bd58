"""Losses by which a model learns from the maps and logits of another, the teacher.

Both compare softmax distributions at a temperature T, by ``T**2 KL(teacher || student)``; the factor keeps the gradients of
one size whatever T is (Hinton et al., arXiv 1503.02531, section 2). They differ in what a distribution runs over: the positions
of a channel (:func:`channel_wise`), or the classes of an image or pixel (:func:`class_wise`).

Each is a mean over the images of the batch, so that processes and micro-batches of equal size average to one batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def channel_wise(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Channel-wise distillation: where in the image each channel fires (Shu et al., arXiv 2011.13256, equations 3 and 4).

    A channel is a distribution over positions, so its offset, and with the temperature its scale, matter little: maps of
    networks with different norms can be compared.

    Args:
        student, teacher: (B, C, h, w) maps; the teacher's without gradient.

    Returns:
        () float32, the mean over images and channels.
    """
    return _divergence(student.flatten(2), teacher.flatten(2), temperature, over=2)


def class_wise(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Distillation of class probabilities (Hinton et al., arXiv 1503.02531, section 2), of an image or of each pixel.

    Args:
        student, teacher: (B, K) or (B, K, h, w) logits; the teacher's without gradient.

    Returns:
        () float32, the mean over images and pixels.
    """
    return _divergence(student, teacher, temperature, over=1)


def rows(logits: Tensor, classes: Sequence[int], dim: int) -> Tensor:
    """`logits` of `classes`, in their order, along `dim`; the tensor itself where these are all."""
    if list(classes) == list(range(logits.shape[dim])):
        return logits
    return logits.index_select(dim, torch.tensor(classes, device=logits.device))


def too_few(own: Sequence[int]) -> str | None:
    """Why a softmax over the classes `own` has nothing to compare; None where it has."""
    if not own:
        return "no class has the same name"
    return "a single class has the same name, and a softmax compares two or more" if len(own) == 1 else None


def _divergence(student: Tensor, teacher: Tensor, temperature: float, *, over: int) -> Tensor:
    """``T**2 KL(teacher || student)`` of the softmax over dimension `over`, the mean over the others."""
    own = (student.float() / temperature).log_softmax(over)
    other = (teacher.detach().float() / temperature).log_softmax(over)
    return temperature**2 * (other.exp() * (other - own)).sum(over).mean()
