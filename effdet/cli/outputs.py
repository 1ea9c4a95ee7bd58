"""Files that a command may not replace: what it reads, and what others than this program have written.

A command that is run again replaces what it wrote before; whatever else has one of its files' names stays. All of this is
looked at before work begins.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from effdet.cli.config import Config
from effdet.files import read_json, refuse_overwriting, refuse_replacing
from effdet.renamed import renew
from heads.errors import UserError

PREDICT_JOURNAL = "predictions.jsonl"
"""Which `predict` writes, and no other command."""


def refuse_json(path: Path, *keys: str, key: str, what: str) -> None:
    """Refuse to replace a JSON file that has not all of `keys`, by which `what` of ours is known.

    Raises:
        UserError: it is there, and something else.
    """

    def is_ours(path: Path) -> bool:
        value = read_json(path)
        return isinstance(value, dict) and renew(value).keys() >= set(keys)

    refuse_replacing(path, is_ours, key=key, what=what)


def refuse_model_file(config: Config) -> None:
    """``out`` of `scale` and `search`.

    Raises:
        UserError: it is there, and no model file.
    """
    if config.out is not None:
        refuse_json(Path(config.out), "backbone", "image_size", key=f"out={config.out}", what="a model file")


def refuse_evaluation(directory: Path, *, key: str) -> None:
    """The folder of `evaluate`.

    Raises:
        UserError: predict's results are there, or another ``metrics.json``.
    """
    if (directory / PREDICT_JOURNAL).exists():
        raise UserError(f"{key}: {directory} holds results of predict; name another folder")
    refuse_json(directory / "metrics.json", "images_per_second", key=key, what="metrics of an evaluation")


def refuse_masks(directory: Path, source: Any, *, key: str) -> None:
    """Segmentation maps in `directory`, named as the images are.

    Raises:
        UserError: a mask or an image of `source` lies there.
    """
    if not directory.is_dir():
        return
    theirs = directory.resolve()
    for record in source.records:
        for path in (record.image, record.mask):
            if path is not None and Path(path).resolve().parent.is_relative_to(theirs):
                raise UserError(f"{key}: {directory} holds {Path(path).name} of the data; name another folder")


def refuse_export(config: Config, target: Path, sources: list[Path]) -> None:
    """The files of `export`, with those that lie beside them.

    Raises:
        UserError: one is read, or is there and nothing that `export` writes.
    """
    key = f"out={target}"
    beside = {".pte": (".json",), ".xml": (".bin",), ".onnx": (".onnx.data",)}.get(target.suffix, ())
    files = [target, *(target.with_suffix(suffix) for suffix in beside)]
    named = [Path(value) for name in ("model", "weights") if isinstance(value := config.get(name), str)]
    refuse_overwriting(files, [path for path in [*named, *sources] if path.is_file()], key=key)
    if target.suffix == ".pte":
        refuse_json(files[1], "version", "spec", key=key, what="the description of an exported file")
    if target.suffix == ".xml":
        for file in files:
            refuse_replacing(file, _is_openvino, key=key, what="of OpenVINO")


def _is_openvino(path: Path) -> bool:
    return b"<net" in path.with_suffix(".xml").read_bytes()[:4096]
