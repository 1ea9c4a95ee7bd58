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
def image(tmp_path: Path) -> Callable[..., Path]:
    """Writes a black image with a bright rectangle; returns its path."""

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
def coco_set(tmp_path: Path, image: Callable[..., Path]) -> Callable[..., Path]:
    """Writes a set in the official layout: `count` images of 64×48, each with one box; returns its root.

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
            image(f"{split}2017/{name}", size=size, box=(x, y, x + width, y + height))
            entry = {"id": 10 + index, "file_name": name, "height": size[0], "width": size[1]}
            content["images"].append(entry)
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


Write = Callable[..., Path]


@pytest.fixture
def mask_file(tmp_path: Path) -> Write:
    """Writes an array as a grey (or palette) PNG; returns its path."""

    def write(name: str, values: Any, *, mode: str | None = None, **save: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(np.asarray(values))
        if mode == "P":
            image.putpalette([7 * value % 256 for value in range(768)])
        image.save(path, **save)
        return path

    return write


@pytest.fixture
def city_set(tmp_path: Path, image: Write, mask_file: Write) -> Callable[..., Path]:
    """Writes images in Cityscapes' layout, each 40×30 with road below, sky above, a car, a group of persons.

    ``edit(ids, instances)`` may change each image's label and instance ids in place.
    """

    def write(
        split: str = "train",
        count: int = 2,
        *,
        edit: Callable[..., Any] | None = None,
        suffixes: Sequence[str] = ("labelIds", "instanceIds"),
    ) -> Path:
        for index in range(count):
            ids = np.full((30, 40), 23, np.uint8)
            ids[15:] = 7
            ids[:2] = 3
            instances = ids.astype(np.uint16)
            ids[10:20, 4:16], instances[10:20, 4:16] = 26, 26000 + index
            ids[12:18, 20:24], instances[12:18, 20:24] = 24, 24  # a group
            ids[12:18, 28:31], instances[12:18, 28:31] = 24, 24001
            ids[14:16, 34:38], instances[14:16, 34:38] = 29, 29000  # a caravan
            if edit is not None:
                edit(ids, instances)
            stem = f"aachen/aachen_000000_{index:06}"
            image(f"leftImg8bit/{split}/{stem}_leftImg8bit.png", size=ids.shape)
            for suffix, values in (("labelIds", ids), ("instanceIds", instances)):
                if suffix in suffixes:
                    mask_file(f"gtFine/{split}/{stem}_gtFine_{suffix}.png", values)
        return tmp_path

    return write


@pytest.fixture
def mask_set(tmp_path: Path, image: Write, mask_file: Write) -> Callable[..., Path]:
    """Writes images of unequal sizes with masks of 0 (left), 1 (a column) and 255, in ``images/`` and ``masks/``."""

    def write(split: str = "train", count: int = 3, *, images: str = "images/{}", masks: str = "masks/{}") -> Path:
        for index in range(count):
            height, width = 20 + 4 * index, max(30 - 3 * index, 6)
            values = np.zeros((height, width), np.uint8)
            values[:, width // 2 :] = 255
            values[2:5, width // 2] = 1
            image(f"{images.format(split)}/{index}.jpg", size=(height, width))
            mask_file(f"{masks.format(split)}/{index}.png", values)
        return tmp_path

    return write
