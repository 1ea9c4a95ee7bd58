"""Small data sets, written where a test wants them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def picture(tmp_path: Path) -> Callable[..., Path]:
    """Writes a black picture with a bright rectangle; returns its path."""

    def write(
        name: str = "a.jpg", *, size: tuple[int, int] = (48, 64), box: Sequence[int] | None = None, **save: Any
    ) -> Path:
        pixels = np.zeros((*size, 3), np.uint8)
        if box is not None:
            x1, y1, x2, y2 = box
            pixels[y1:y2, x1:x2] = 255
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, **save)
        return path

    return write


@pytest.fixture
def coco_set(tmp_path: Path, picture: Callable[..., Path]) -> Callable[..., Path]:
    """Writes a set in the official layout: `count` pictures of 64×48, each with one box; returns its root.

    ``edit(content)`` may change the annotation file's content before it is written.
    """

    def write(
        count: int = 4,
        *,
        split: str = "train",
        edit: Callable[[dict[str, Any]], Any] | None = None,
        suffix: str = "png",
        size: tuple[int, int] = (48, 64),
    ) -> Path:
        content: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
        content["categories"] = [{"id": 3, "name": "car"}, {"id": 7, "name": "person"}]
        for index in range(count):
            x, y, width, height = 4 + 2 * index, 6 + index, 20, 16
            name = f"{index:03}.{suffix}"
            picture(f"{split}2017/{name}", size=size, box=(x, y, x + width, y + height))
            image = {"id": 10 + index, "file_name": name, "height": size[0], "width": size[1]}
            content["images"].append(image)
            content["annotations"].append(
                {
                    "id": 100 + index,
                    "image_id": 10 + index,
                    "category_id": (3, 7)[index % 2],
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
        if edit is not None:
            edit(content)
        path = tmp_path / "annotations" / f"instances_{split}2017.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
        return tmp_path

    return write
