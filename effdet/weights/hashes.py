"""The identity of a model's weights, whatever file holds them."""

from __future__ import annotations

import hashlib

import torch


def tensors_hash(model: torch.nn.Module) -> str:
    """sha256 of the names and values of a model's weights: the same for a checkpoint and for the file it was saved to."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(values.shape)} {values.dtype}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
