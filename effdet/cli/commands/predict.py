"""``effdet predict``: pictures in, drawn pictures and ``predictions.json`` out."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.progress import track

from effdet.cli.assemble import semantic_inference, torch_device
from effdet.cli.config import Config
from effdet.cli.open_model import open_model
from effdet.cli.results import RunResult
from effdet.cli.words import Words
from effdet.data.images import SUFFIXES
from effdet.evaluation import write_json
from effdet.inference import Prediction, Predictor
from heads.structures import UserError


def run(config: Config, words: Words) -> RunResult:
    """Predict every picture of ``source``, batch by batch."""
    pictures = find_pictures(config.source)[: config.limit]
    size = config.image_size
    predict = Predictor(
        open_model(config),
        torch_device(config.device),
        image_size=(size[0], size[1]) if isinstance(size, list) else size,
        batch_size=config.batch_size,
        score=config.score,
        nms_iou=config.nms_iou,
        max_detections=config.max_detections,
        semantic=semantic_inference(config),
    )
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    names = _file_names(pictures)
    stream = zip(pictures, names, predict.stream(pictures), strict=True)
    for number, (path, name, prediction) in enumerate(_progress(stream, len(pictures)), start=1):
        prediction.draw(score=config.score).save(out / name)
        height, width = prediction.size
        images.append({"id": number, "file_name": str(path), "height": height, "width": width})
        annotations += prediction.to_coco(number)
    write_json(
        out / "predictions.json", {"images": images, "annotations": annotations, "categories": _table(prediction)}
    )
    print(f"{len(annotations)} boxes of score ≥ {config.score:g} in {len(pictures)} pictures")
    print(out)
    return RunResult(out, {})


def find_pictures(source: str) -> list[Path]:
    """The pictures of a file, a folder or a pattern, sorted by name.

    Raises:
        UserError: there are none.
    """
    path = Path(source)
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [entry for entry in sorted(path.rglob("*")) if entry.suffix.lower() in SUFFIXES]
    else:
        found = sorted(Path(name) for name in glob.glob(source, recursive=True))
    if not found:
        what = "a folder without pictures" if path.is_dir() else "no such picture, folder or pattern"
        raise UserError(f"source={source}: {what} ({', '.join(sorted(SUFFIXES))})")
    return found


def _file_names(pictures: Sequence[Path]) -> list[str]:
    """``STEM.jpg`` for each picture; those whose stem was seen before get a number."""
    seen: dict[str, int] = {}
    names = []
    for path in pictures:
        seen[path.stem] = count = seen.get(path.stem, 0) + 1
        names.append(f"{path.stem}.jpg" if count == 1 else f"{path.stem}_{count}.jpg")
    return names


def _progress(items: Iterable[Any], total: int) -> Iterable[Any]:
    return track(items, description="predicting", total=total, transient=True)


def _table(prediction: Prediction) -> list[dict[str, Any]]:
    table = prediction.classes.get("detection")
    if table is None:
        return []
    rows = enumerate(zip(table.ids, table.names, strict=True))
    return [{"id": index if own is None else own, "name": name} for index, (own, name) in rows if name is not None]
