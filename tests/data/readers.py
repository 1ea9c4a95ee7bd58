"""One small valid train set for each reader: the images, their labels, and how both are read back.

Image number i is filled with a colour that says i, and labelled with class i % 2 (boxes begin at x = 4 + 4i): what comes
back shows whether each image has its own labels.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import numpy as np
import yaml
from PIL import Image

from effdet.data import Dataset, DataSpec, open_dataset
from effdet.data.images import read_image
from effdet.data.shards import write_shards
from effdet.files import encode_name
from effdet.inference.sources import find_images

CLASSES = ("car", "person")
SIDES = (40, 64)
"""Height and width."""
Answer = tuple[int, int | None]
"""(number of the image by its colour, number by its labels modulo what they can say)."""


def put_image(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.empty((*SIDES, 3), np.uint8)
    pixels[:] = (20 + 20 * number, 120, 250 - 20 * number)
    Image.fromarray(pixels).save(path)


def put_mask(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(SIDES, value, np.uint8)).save(path)


def put_text(path: Path, text: str) -> None:
    """Names that are not UTF-8 are written as the bytes that they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_name(text))


def number_of(pixels: np.ndarray) -> int:
    return round((float(pixels[:, :, 0].mean()) - 20) / 20)


def stem_of(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def yolo(root: Path, names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        put_image(root / "images/train" / name, number)
        left, width = 4 + 4 * number, 8
        line = f"{number % 2} {(left + width / 2) / SIDES[1]} 0.5 {width / SIDES[1]} 0.25\n"
        put_text(root / "labels/train" / f"{stem_of(name)}.txt", line)
    put_text(root / "data.yaml", yaml.safe_dump({"train": "images/train", "names": list(CLASSES)}))


def yolo_list(root: Path, names: Sequence[str]) -> None:
    """Images that a list names, classes by ``classes.txt``."""
    yolo(root, names)
    put_text(root / "data.yaml", "train: train.txt\n")
    put_text(root / "train.txt", "".join(f"./images/train/{name}\n" for name in names))
    put_text(root / "classes.txt", "".join(f"{name}\n" for name in CLASSES))


def coco(root: Path, names: Sequence[str]) -> None:
    content: dict = {"images": [], "annotations": [], "categories": []}
    content["categories"] = [{"id": label + 1, "name": name} for label, name in enumerate(CLASSES)]
    for number, name in enumerate(names):
        put_image(root / "train2017" / name, number)
        image = {"id": number + 1, "file_name": name, "height": SIDES[0], "width": SIDES[1]}
        content["images"].append(image)
        box = {"bbox": [4 + 4 * number, 10, 8, 10], "area": 80, "iscrowd": 0}
        content["annotations"].append({"id": number + 1, "image_id": number + 1, "category_id": number % 2 + 1, **box})
    put_text(root / "annotations/instances_train2017.json", json.dumps(content))


def voc(root: Path, names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        put_image(root / "JPEGImages" / name, number)
        node = ElementTree.Element("annotation")
        item = ElementTree.SubElement(node, "object")
        ElementTree.SubElement(item, "name").text = CLASSES[number % 2]
        box = ElementTree.SubElement(item, "bndbox")
        for corner, value in zip(
            ("xmin", "ymin", "xmax", "ymax"), (5 + 4 * number, 11, 12 + 4 * number, 20), strict=True
        ):
            ElementTree.SubElement(box, corner).text = str(value)
        path = root / "Annotations" / f"{stem_of(name)}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        ElementTree.ElementTree(node).write(path)
    put_text(root / "ImageSets/Main/train.txt", "".join(f"{stem_of(name)}\n" for name in names))


def bdd_boxes(root: Path, names: Sequence[str]) -> None:
    frames = []
    for number, name in enumerate(names):
        put_image(root / "images/100k/train" / name, number)
        box = {"x1": 4 + 4 * number, "y1": 10, "x2": 11 + 4 * number, "y2": 19}
        frames.append({"name": name, "labels": [{"category": ("pedestrian", "rider")[number % 2], "box2d": box}]})
    put_text(root / "labels/det_20/det_train.json", json.dumps(frames))


def bdd_masks(root: Path, names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        put_image(root / "images/10k/train" / name, number)
        put_mask(root / "labels/sem_seg/masks/train" / f"{stem_of(name)}.png", number % 2)


def camvid(root: Path, names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        put_image(root / "train" / name, number)
        put_mask(root / "trainannot" / f"{stem_of(name)}.png", number % 2)


def cityscapes(root: Path, names: Sequence[str]) -> None:
    """Road is id 7 and class 0, sidewalk 8 and class 1."""
    for number, name in enumerate(names):
        put_image(root / "leftImg8bit/train" / f"{stem_of(name)}_leftImg8bit.png", number)
        put_mask(root / "gtFine/train" / f"{stem_of(name)}_gtFine_labelIds.png", 7 + number % 2)


def masks(root: Path, names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        put_image(root / "images/train" / name, number)
        put_mask(root / "masks/train" / f"{stem_of(name)}.png", number % 2)
    put_text(root / "classes.txt", "".join(f"{name}\n" for name in CLASSES))


def directory(root: Path, names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        put_image(root / "train" / CLASSES[number % 2] / name, number)


def csv_list(root: Path, names: Sequence[str]) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("path", "label"))
    for number, name in enumerate(names):
        put_image(root / name, number)
        writer.writerow((name, CLASSES[number % 2]))
    put_text(root / "train.csv", out.getvalue())


def cifar10(root: Path, names: Sequence[str]) -> None:
    """One image in each of the five files; the test batch holds the first."""
    home = root / "cifar-10-batches-bin"
    home.mkdir(parents=True)
    for number in range(5):
        planes = np.repeat(np.array([20 + 20 * number, 120, 250 - 20 * number], np.uint8), 1024)
        content = bytes([number % 2]) + planes.tobytes()
        (home / f"data_batch_{number + 1}.bin").write_bytes(content)
        (home / "test_batch.bin").write_bytes(content)
    put_text(home / "batches.meta.txt", "".join(f"{name}\n" for name in CLASSES))


def cifar100(root: Path, names: Sequence[str]) -> None:
    home = root / "cifar-100-binary"
    home.mkdir(parents=True)
    content = b""
    for number in range(5):
        planes = np.repeat(np.array([20 + 20 * number, 120, 250 - 20 * number], np.uint8), 1024)
        content += bytes([0, number % 2]) + planes.tobytes()
    for name in ("train.bin", "test.bin"):
        (home / name).write_bytes(content)
    put_text(home / "fine_label_names.txt", "".join(f"{name}\n" for name in CLASSES))
    put_text(home / "coarse_label_names.txt", "things\n")


def shards(root: Path, names: Sequence[str]) -> None:
    yolo(root.parent / "source", names)
    write_shards(open_dataset(DataSpec("yolo", root.parent / "source")), root)


def mixed(root: Path, names: Sequence[str]) -> None:
    yolo(root / "boxed", names)
    masks(root / "masked", names)


def files(root: Path, names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        put_image(root / name, number)


def file_list(root: Path, names: Sequence[str]) -> None:
    files(root, names)
    put_text(root / "list.txt", "".join(f"{name}\n" for name in names))


def spec(data: str, root: Path, **settings: object) -> DataSpec:
    if data == "mixed":
        parts = {
            "boxes": {"name": "yolo", "root": str(root / "boxed")},
            "masks": {"name": "masks", "root": str(root / "masked")},
        }
        return DataSpec("mixed", **parts)
    return DataSpec(data, root, **settings)  # type: ignore[arg-type]


def answers(source: Dataset) -> list[Answer]:
    """What was read, sorted."""
    return sorted((number_of(source.read_image(record)), _label(source, record)) for record in source.records)


def _label(source: Dataset, record) -> int | None:
    if record.label is not None and record.label >= 0:
        return record.label
    if len(record.boxes):
        number = round((float(record.boxes[0, 0]) - 4) / 4)
        assert record.labels.tolist() == [number % 2]
        return number
    mask = source.read_mask(record)
    return None if mask is None else int(mask[0, 0])


def predicted(source: str) -> list[Answer]:
    """The images that ``predict source=…`` takes."""
    return sorted((number_of(read_image(path)), None) for path in find_images(source))
