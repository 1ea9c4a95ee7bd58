"""BatchNorms that were folded away in a file: as layers again, first as identities, then with statistics.

A folded file holds ``s * W`` and ``b`` where a network that trains has ``W`` and BatchNorm(gamma, beta, mean, var) with
s = gamma / sqrt(var + eps) and b = beta - s * mean. A BatchNorm of weight 1, bias b, mean 0 and variance 1 - eps computes the
same in evaluation mode; in training mode it normalises what was never normalised (:mod:`effdet.weights.statistics`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from effdet.necks.pyramid import Fusion

_MEAN, _VAR = "running_mean", "running_var"
_HEAD_NORM = re.compile(r"(heads\.\w+\.\w+)\.norms\.(\d+)\.(\w+)$")
_OWN_EPS = 1e-2
"""Epsilons in use are at most this: a folded variance lies in [1 - it, 1]."""


@dataclass(frozen=True)
class Unfolded:
    """A file's tensors under our names, with a BatchNorm wherever the model has one."""

    tensors: Mapping[str, Tensor]
    norms: tuple[str, ...]
    """Modules whose BatchNorms were put back as identities: weight and bias are right, mean and variance are 0 and 1."""
    notes: tuple[str, ...] = ()


def unfold(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], fusions: Mapping[str, Fusion] | None = None
) -> Unfolded:
    """Give a folded file the BatchNorms that the model has and the file lacks.

    Each convolution before such a BatchNorm must have a bias in the file. The detection head shares convolutions over levels
    and has a BatchNorm for each level; folded, it has a convolution for each level, from which both are solved back
    (:func:`shared_over_levels`).

    Args:
        state: the file's tensors under our names.
        own: the model's tensors.
        fusions: of the model's neck, by module name: a folded file holds their shares in place of their weights.
    """
    tensors = dict(state)
    for name, fusion in (fusions or {}).items():
        if f"{name}.weights" not in state and (shares := tensors.pop(f"{name}.constant", None)) is not None:
            tensors[f"{name}.weights"] = fusion.weights_of(shares)
    found: list[str] = []
    heads: dict[str, dict[str, dict[str, str]]] = {}
    for key in own:
        norm = key.removesuffix(f".{_MEAN}")
        if norm == key or any(f"{norm}.{leaf}" in state for leaf in ("weight", "bias", _MEAN, _VAR)):
            continue
        if level := _HEAD_NORM.match(norm):
            net, repeat, name = level.groups()
            heads.setdefault(net, {}).setdefault(repeat, {})[name] = norm
        elif (conv := _convolution_before(norm, state)) is not None:
            bias = tensors.pop(f"{conv}.bias")
            if f"{conv}.bias" in own:
                tensors[f"{conv}.bias"] = torch.zeros_like(bias)
            _identity(tensors, norm, torch.ones_like(bias), bias)
            found.append(norm)
    residual = 0.0
    for net, repeats in heads.items():
        for repeat, norms in repeats.items():
            residual = max(residual, _unfold_head(tensors, own, net, repeat, norms))
            found += [norm for norm in norms.values() if f"{norm}.weight" in tensors]
    notes = (f"head weights solved back from levels, off by {residual:.1e} of their size at most",) if residual else ()
    return Unfolded(tensors, tuple(found), notes)


def _convolution_before(norm: str, state: Mapping[str, Tensor]) -> str | None:
    """The folded convolution that `norm` followed: ``X.conv`` or, of a separable one, ``X.conv.pointwise``."""
    parent = norm.removesuffix("norm")
    for conv in (f"{parent}conv", f"{parent}conv.pointwise"):
        if norm.endswith(".norm") and f"{conv}.bias" in state and f"{conv}.weight" in state:
            return conv
    return None


def _identity(tensors: dict[str, Tensor], norm: str, weight: Tensor, bias: Tensor) -> None:
    tensors[f"{norm}.weight"], tensors[f"{norm}.bias"] = weight, bias
    tensors[f"{norm}.{_MEAN}"], tensors[f"{norm}.{_VAR}"] = torch.zeros_like(bias), torch.ones_like(bias)


def _unfold_head(
    tensors: dict[str, Tensor], own: Mapping[str, Tensor], net: str, repeat: str, norms: Mapping[str, str]
) -> float:
    """One repeat of a prediction net of :class:`heads.detection.head.FoldedNet`; returns the relative misfit."""
    conv = f"{net}.convs.{repeat}"
    separable = f"{conv}.pointwise.weight" in own
    inner = ".1" if separable else ""
    weights, biases = [], []
    for level in norms:
        weight = tensors.get(f"{net}.folded.{level}.{repeat}{inner}.weight")
        bias = tensors.get(f"{net}.folded.{level}.{repeat}{inner}.bias")
        if weight is None or bias is None:
            return 0.0
        weights.append(weight)
        biases.append(bias)
    shared, gamma, misfit = shared_over_levels(torch.stack([w.flatten(1) for w in weights], 1))
    target = f"{conv}.pointwise" if separable else conv
    tensors[f"{target}.weight"] = shared.reshape(weights[0].shape).to(weights[0])
    if f"{target}.bias" in own:
        tensors[f"{target}.bias"] = torch.zeros_like(biases[0])
    for number, (level, norm) in enumerate(norms.items()):
        folded = f"{net}.folded.{level}.{repeat}{inner}"
        del tensors[f"{folded}.weight"], tensors[f"{folded}.bias"]
        if separable:
            tensors[f"{conv}.depthwise.weight"] = tensors.pop(f"{net}.folded.{level}.{repeat}.0.weight")
        _identity(tensors, norm, gamma[:, number].to(biases[number]), biases[number])
    return misfit


def shared_over_levels(weights: Tensor, steps: Tensor | None = None) -> tuple[Tensor, Tensor, float]:
    """Weights that levels share and each level's own gain, from their products.

    Row o of level l is ``gamma[o, l] * W[o]``: for each output channel a matrix of rank one. Its best fit gives both back, up
    to a factor, which is chosen so that the mean of abs(gamma) over levels is 1 and its sum is not negative.

    Args:
        weights: (out, levels, n) of each output channel and level.
        steps: (out, levels) unit of each row in which the misfit counts; None for equal ones.

    Returns:
        W (out, n), gamma (out, levels), both float64, and the largest misfit, in steps or else as a share of the row's
        largest number.
    """
    rows = weights.double()
    units = torch.ones_like(rows[:, :, 0]) if steps is None else steps.double()
    scaled = rows / units[:, :, None]
    left, size, right = torch.linalg.svd(scaled, full_matrices=False)
    shared, gamma = right[:, 0] * size[:, :1], left[:, :, 0] * units
    misfit = (scaled - left[:, :, :1] * shared[:, None]).abs().amax((1, 2))
    if steps is None:
        misfit = misfit / scaled.abs().amax((1, 2)).clamp(min=1e-30)
    dead = size[:, 0] == 0
    gamma[dead] = 1.0
    scale = gamma.abs().mean(1) * torch.where(gamma.sum(1) < 0, -1.0, 1.0)
    return shared * scale[:, None], gamma / scale[:, None], float(misfit.max())


def without_statistics(state: Mapping[str, Tensor], norms: Mapping[str, nn.BatchNorm2d]) -> tuple[str, ...]:
    """Those of `norms` that a file holds without statistics: mean 0 and variance 1 or 1 - eps throughout, and a bias.

    A BatchNorm that was never trained has the same statistics, but no bias.

    Args:
        state: the file's tensors under our names.
        norms: the model's, by module name.
    """
    found = []
    for name in norms:
        mean, var, bias = (state.get(f"{name}.{leaf}") for leaf in (_MEAN, _VAR, "bias"))
        if mean is None or var is None or bias is None or mean.shape != norms[name].bias.shape:
            continue
        flat = not bool(mean.any()) and bool((var == var[0]).all()) and 1 - _OWN_EPS <= float(var[0]) <= 1
        if flat and bool(bias.any()):
            found.append(name)
    return tuple(found)
