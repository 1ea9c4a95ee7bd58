"""Small valid sets in every form, to be broken one thing at a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 96, 64
BOXES = ((6, 4), (56, 4), (6, 36), (56, 36))
"""Top-left corners of an image's four boxes, 28 × 24 each, of the two classes by turns."""
BOX = (28, 24)
NAMES = ("car", "person")
COUNTS = {"train": 5, "val": 2}
"""Ten boxes of each class in train, four in val."""


def pixels(seed: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """An image unlike those of other seeds: smooth blobs, which survive JPEG."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def save(path: Path, seed: int, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed)).save(path, **options)
    return path


def images(suffix: str = "png") -> list[tuple[str, str, int]]:
    """(split, file name, seed) of every image."""
    return [
        (split, f"{split}_{index}.{suffix}", 10 * number + index)
        for number, (split, count) in enumerate(COUNTS.items())
        for index in range(count)
    ]


def coco(root: Path) -> None:
    """COCO in the official layout; image ids from 1, annotation ids from 101."""
    for split in COUNTS:
        content: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
        content["categories"] = [{"id": label + 1, "name": name} for label, name in enumerate(NAMES)]
        for number, (_, name, seed) in enumerate([row for row in images() if row[0] == split], start=1):
            save(root / f"{split}2017" / name, seed)
            content["images"].append({"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT})
            for place, (x, y) in enumerate(BOXES):
                content["annotations"].append(
                    {
                        "id": 100 + len(content["annotations"]) + 1,
                        "image_id": number,
                        "category_id": place % 2 + 1,
                        "bbox": [x, y, *BOX],
                        "area": BOX[0] * BOX[1],
                        "iscrowd": 0,
                        "segmentation": [[x, y, x + BOX[0], y, x + BOX[0], y + BOX[1], x, y + BOX[1]]],
                    }
                )
        write_json(root, content, split)


def voc(root: Path) -> None:
    """Pascal VOC with ImageSets."""
    lists: dict[str, list[str]] = {split: [] for split in COUNTS}
    for split, name, seed in images():
        save(root / "JPEGImages" / name, seed)
        stem = Path(name).stem
        lists[split].append(stem)
        node = ElementTree.Element("annotation")
        ElementTree.SubElement(node, "filename").text = name
        size = ElementTree.SubElement(node, "size")
        for key, value in (("width", WIDTH), ("height", HEIGHT), ("depth", 3)):
            ElementTree.SubElement(size, key).text = str(value)
        for place, (x, y) in enumerate(BOXES):
            add_object(node, NAMES[place % 2], (x + 1, y + 1, x + BOX[0], y + BOX[1]))
        path = root / "Annotations" / f"{stem}.xml"
        path.parent.mkdir(exist_ok=True)
        ElementTree.ElementTree(node).write(path)
    for split, stems in lists.items():
        path = root / "ImageSets" / "Main" / f"{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{stem}\n" for stem in stems))


def add_object(node: ElementTree.Element, name: str, corners: tuple[Any, ...]) -> None:
    child = ElementTree.SubElement(node, "object")
    ElementTree.SubElement(child, "name").text = name
    box = ElementTree.SubElement(child, "bndbox")
    for key, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True):
        ElementTree.SubElement(box, key).text = str(value)


def yolo(root: Path) -> None:
    """YOLO with data.yaml."""
    for split, name, seed in images():
        save(root / "images" / split / name, seed)
        lines = [
            f"{place % 2} {(x + BOX[0] / 2) / WIDTH} {(y + BOX[1] / 2) / HEIGHT} {BOX[0] / WIDTH} {BOX[1] / HEIGHT}"
            for place, (x, y) in enumerate(BOXES)
        ]
        path = root / "labels" / split / f"{Path(name).stem}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines))
    names = "".join(f"  {label}: {name}\n" for label, name in enumerate(NAMES))
    (root / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames:\n{names}")


def masks(root: Path) -> None:
    """Pairs of images and masks; ids 0 and 1, 255 ignored."""
    for split, name, seed in images():
        save(root / "images" / split / name, seed)
        ids = np.zeros((HEIGHT, WIDTH), np.uint8)
        ids[:, WIDTH // 2 :] = 1
        ids[:4] = 255
        path = root / "masks" / split / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(ids).save(path)
    (root / "classes.txt").write_text("road\ncar\n")


FORMATS: dict[str, Callable[[Path], None]] = {"coco": coco, "voc": voc, "yolo": yolo, "masks": masks}


def json_path(root: Path, split: str = "train") -> Path:
    return root / "annotations" / f"instances_{split}2017.json"


def write_json(root: Path, content: Any, split: str = "train") -> None:
    path = json_path(root, split)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def edit_json(root: Path, edit: Callable[[dict[str, Any]], Any], split: str = "train") -> None:
    content = json.loads(json_path(root, split).read_text())
    edit(content)
    write_json(root, content, split)


def edit_xml(root: Path, stem: str, edit: Callable[[ElementTree.Element], Any]) -> None:
    path = root / "Annotations" / f"{stem}.xml"
    tree = ElementTree.parse(path)
    edit(tree.getroot())
    tree.write(path)


def edit_lines(path: Path, edit: Callable[[list[str]], Any]) -> None:
    lines = path.read_text().splitlines()
    edit(lines)
    path.write_text("".join(f"{line}\n" for line in lines))
