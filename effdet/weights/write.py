"""``save``: one safetensors file that ``load`` needs nothing else for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from effdet.files import replacing
from effdet.model import FoldedModel, VisionModel
from effdet.weights.read import METADATA_KEY
from heads.structures import UserError

FORMAT = 1


def save(model: VisionModel, path: str | Path, *, notes: dict[str, Any] | None = None) -> Path:
    """Write a model's weights with its description, class tables and preprocessing.

    The file appears whole or not at all: it is written beside its place, synced and renamed.

    Args:
        path: Ends with ``.safetensors``.
        notes: JSON-able values to keep with it, such as where the weights come from.

    Returns:
        The path.
    """
    path = Path(path).expanduser()
    if isinstance(model, FoldedModel) or not isinstance(model, VisionModel):
        raise UserError(f"a {type(model).__name__} can't be saved: save the model itself, before fold()")
    if path.suffix != ".safetensors":
        raise UserError(f"the file name {path.name!r} must end with .safetensors")
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the name of a file")
    from safetensors.torch import save_file

    description = {"format": FORMAT, "spec": model.spec.to_dict(), "torch": torch.__version__, "notes": notes or {}}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with replacing(path) as partial:
        save_file(tensors, partial, metadata={METADATA_KEY: json.dumps(description), "format": "pt"})
    return path
