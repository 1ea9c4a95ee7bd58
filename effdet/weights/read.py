"""Reading weight files safely: nothing in a file is ever executed, and a bad file says what is wrong with it.

PyTorch files are read with ``weights_only=True``; one that holds more than tensors and plain values is refused unless the user
trusts it. A few kilobytes can describe terabytes: compressed zeros in a zip, one number stretched to a tensor of any shape.
Both are refused by looking at sizes. Where a checkpoint holds an average of its weights (EMA), that is what is read;
``raw=True`` reads the others.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from effdet.hub import sha256_of
from heads.structures import UserError

METADATA_KEY = "effdet"
"""The entry of a safetensors file's metadata that holds our JSON; written by :func:`effdet.weights.api.save`."""


class WeightsError(UserError):
    """A weight file that can't be used as it is."""


class BoundsError(UserError):
    """A file that asks for more than it holds."""


@dataclass(frozen=True)
class WeightFile:
    """A file's tensors by their own names, and what it says about itself."""

    source: str
    """A short name for messages: the file's name, or ``state dict``."""
    tensors: Mapping[str, Tensor]
    kind: str = "state dict"
    """``torch``, ``safetensors``, ``tflite`` or ``state dict``."""
    path: Path | None = None
    sha256: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Ours: ``spec`` (a dict) among others. timm's: ``architecture`` and ``pretrained_cfg`` of a neighbouring config.json.
    Google's: ``lite``, a :class:`effdet.weights.tflite.LiteFacts`."""
    notes: tuple[str, ...] = ()


def read_weights(source: str | Path | Mapping[str, Any], *, trust: bool = False, raw: bool = False) -> WeightFile:
    """Read a file or take a state dict.

    Args:
        source: A path, or a mapping of names to tensors (or a checkpoint that holds one).
        trust: Allow a pickle that runs code. Only for files whose origin you trust.
        raw: Of a checkpoint that holds both, read the raw weights and not their average.

    Raises:
        WeightsError: the file is missing, truncated, holds code, no tensors or numbers that are not finite.
    """
    if isinstance(source, Mapping):
        tensors, notes, metadata = _state_dict(source, "the state dict", raw)
        return _checked(WeightFile("state dict", tensors, metadata=metadata, notes=notes))
    path = Path(source).expanduser()
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; give the weight file in it")
    if not path.is_file():
        raise WeightsError(f"{path} does not exist")
    if path.stat().st_size == 0:
        raise WeightsError(f"{path} is empty: the file is truncated")
    with open(path, "rb") as file:
        head = file.read(16)
    sha256 = sha256_of(path)
    if head[4:8] == b"TFL3":
        from effdet.weights.tflite import read_lite

        tensors, notes, facts = read_lite(path)
        return _checked(WeightFile(path.name, tensors, "tflite", path, sha256, {"lite": facts}, notes))
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        tensors, metadata = _safetensors(path)
        return _checked(WeightFile(path.name, tensors, "safetensors", path, sha256, metadata))
    content = _torch_file(path, trust=trust)
    tensors, notes, metadata = _state_dict(content, path.name, raw)
    return _checked(WeightFile(path.name, tensors, "torch", path, sha256, metadata, notes))


def _torch_file(path: Path, *, trust: bool) -> Any:
    check_archive(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not _is_whole(path):
            raise WeightsError(f"{path} is truncated or no PyTorch file") from None
        if trust:
            return torch.load(path, map_location="cpu", weights_only=False)
        requested = _first_global(str(error))
        raise WeightsError(
            f"{path} holds a pickle with code{requested}, which would run when it is read; "
            "convert it to a plain state dict, or say trust=true if you trust its origin"
        ) from None
    except Exception as error:  # a forged pickle may meet any line of the reader
        raise WeightsError(f"{path} is truncated or no PyTorch file: {_first_line(error)}") from None


def _is_whole(path: Path) -> bool:
    """Whether an unreadable pickle is at least a complete one. A zip file keeps its directory at its end."""
    with open(path, "rb") as file:
        if file.read(2) == b"PK":
            return zipfile.is_zipfile(path)
    try:
        with open(path, "rb") as file:
            import pickletools

            for _ in pickletools.genops(file):
                pass
    except (ValueError, EOFError, UnicodeDecodeError):
        return False
    return True


def _first_global(message: str) -> str:
    import re

    found = re.search(r"(?:GLOBAL|global|class) ([\w.]+\.[\w.]+)", message)
    return f" ({found.group(1)})" if found else ""


def _safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the handle is no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path} is truncated or no safetensors file: {_first_line(error)}") from None
    if METADATA_KEY in metadata:
        return tensors, _json_object(metadata[METADATA_KEY], path.name)
    return tensors, _neighbour(path)


def _neighbour(path: Path) -> dict[str, Any]:
    """timm's ``config.json`` beside a Hugging Face file, which names the architecture and the tag."""
    config = path.with_name("config.json")
    try:
        values = json.loads(config.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) and "architecture" in values else {}


def _json_object(text: Any, name: str) -> dict[str, Any]:
    try:
        values = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise WeightsError(f"{name} holds a model description that is no JSON object: the file is damaged")
    return values


def _state_dict(content: Any, name: str, raw: bool) -> tuple[dict[str, Tensor], tuple[str, ...], dict[str, Any]]:
    """The tensors of a checkpoint: whatever framework nested them, averaged weights first."""
    notes: list[str] = []
    metadata: dict[str, Any] = {}
    if isinstance(content, Mapping) and "spec" in content and "state_dict" in content:  # our own checkpoint
        metadata = {"spec": _json_object(content["spec"], name)}
        key = "raw_state_dict" if raw and content.get("raw_state_dict") else "state_dict"
        content = content[key]
    else:
        order = ("state_dict_ema", "model_ema", "ema_state_dict", "state_dict", "model", "model_state_dict")
        for _ in range(3):
            inner = [key for key in order if isinstance(content, Mapping) and isinstance(content.get(key), Mapping)]
            if raw:
                inner = [key for key in inner if "ema" not in key] or inner
            if not inner:
                break
            if "ema" in inner[0]:
                notes.append(f"read {inner[0]!r}, the averaged weights; raw=True reads the others")
            content = content[inner[0]]
    if not isinstance(content, Mapping):
        raise WeightsError(f"{name} holds a {type(content).__name__}, not a state dict (names and tensors)")
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(f"{name} holds no tensors")
    for prefix in ("module.", "model.", "_orig_mod."):
        while all(key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors, tuple(notes), metadata


def _checked(file: WeightFile) -> WeightFile:
    if not file.tensors:
        raise WeightsError(f"{file.source} holds no tensors")
    limit = None if file.path is None or file.kind == "tflite" else file.path.stat().st_size
    for key, tensor in file.tensors.items():
        check_tensor(key, tensor, file.source, limit)
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            count = int((~torch.isfinite(tensor)).sum())
            raise WeightsError(
                f"{file.source}: {count} of {tensor.numel()} numbers in {key!r} are NaN or infinite; the weights are broken"
            )
    return file


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def check_archive(path: Path) -> None:
    """Refuse a zip file that holds more than its own size. torch stores its parts without compression.

    Raises:
        BoundsError: entries are compressed, or overlap.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError, EOFError):
        return  # no zip file, or a corrupt one: its reader will say so
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise BoundsError(f"{path} is a compressed archive, as PyTorch never writes: it is not unpacked")
    total = sum(entry.file_size for entry in entries)
    if total > path.stat().st_size:
        raise BoundsError(
            f"{path} of {path.stat().st_size:,} bytes states parts of {total:,} bytes; it is not unpacked"
        )


def check_tensor(name: str, tensor: Tensor, source: str, limit: int | None) -> None:
    """Refuse a tensor of an odd kind, or with more numbers than were stored for it.

    Args:
        name: its key.
        tensor: as read.
        source: for the message.
        limit: bytes of the file; None where there is none.
    """
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta or tensor.is_nested:
        raise BoundsError(
            f"{source}: {name!r} is a sparse, quantised, nested or empty-handed tensor; weights are plain ones"
        )
    if limit is not None and tensor.numel() * tensor.element_size() > limit:
        raise BoundsError(f"{source}: {name!r} of shape {tuple(tensor.shape)} is larger than the file it comes from")
