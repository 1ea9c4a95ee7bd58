"""The corpus: each defect breaks one thing of a valid set, and says how doctor must name it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from tests.doctor.sets import (
    BOX,
    HEIGHT,
    WIDTH,
    add_object,
    edit_json,
    edit_lines,
    edit_xml,
    json_path,
    pixels,
    save,
)

TRAIN, VAL = "instances_train2017.json", "instances_val2017.json"


@dataclass(frozen=True)
class Defect:
    """One way in which a set is broken."""

    name: str
    data: str
    kind: str
    file: str
    """End of the name of the file that holds it; ``data=…`` where the set as a whole is meant."""
    item: str
    """What the faulty object is called."""
    make: Callable[[Path], Any]
    level: str = "error"
    repaired: bool = True
    """Whether ``doctor.fix=true`` leaves no error of it."""


def _annotation(**values: Any) -> Callable[[Path], None]:
    """Changes annotation 102 (the second)."""
    return lambda root: edit_json(root, lambda content: content["annotations"][1].update(values))


def _image_entry(place: int = 0, **values: Any) -> Callable[[Path], None]:
    return lambda root: edit_json(root, lambda content: content["images"][place].update(values))


def _without(key: str) -> Callable[[Path], None]:
    return lambda root: edit_json(root, lambda content: content["annotations"][1].pop(key))


def _image_file(write: Callable[[Path], Any], name: str = "train2017/train_1.png") -> Callable[[Path], None]:
    return lambda root: write(root / name)


def _cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _flip_bytes(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[60:90] = bytes(255 - value for value in data[60:90])
    path.write_bytes(bytes(data))


def _bomb(path: Path) -> None:
    # A header that promises 60,000 × 60,000 pixels: a few bytes on disk, 10 GB in memory.
    data = bytearray(path.read_bytes())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    path.write_bytes(bytes(data))


def _mode(mode: str) -> Callable[[Path], None]:
    return lambda path: Image.open(path).convert(mode).save(path)


def _deep(path: Path) -> None:
    Image.fromarray(pixels(3)[..., 0].astype(np.uint16) * 257).save(path)


def _coco_as(suffix: str, **options: Any) -> Callable[[Path], None]:
    """The second image of train in another format."""

    def make(root: Path) -> None:
        (root / "train2017" / "train_1.png").unlink()
        save(root / "train2017" / f"train_1.{suffix}", 1, **options)
        edit_json(root, lambda content: content["images"][1].update(file_name=f"train_1.{suffix}"))

    return make


def _rotated(orientation: int, *, stated: tuple[int, int] | None = None, tall: bool = False) -> Callable[[Path], None]:
    """The second image with an EXIF note; `stated` is its (width, height) in the JSON, `tall` adds a box that only fits
    the pixels as they are stored."""

    def make(root: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        _coco_as("jpg", exif=exif, quality=95)(root)

        def edit(content: dict[str, Any]) -> None:
            if stated is not None:
                content["images"][1].update(width=stated[0], height=stated[1])
            owned = [entry for entry in content["annotations"] if entry["image_id"] == 2]
            for entry in owned:
                entry.pop("segmentation")
                if tall:
                    entry["bbox"] = [66, 5, 28, 24]
                elif stated == (HEIGHT, WIDTH):
                    entry["bbox"] = [entry["bbox"][0] // 2, *entry["bbox"][1:]]

        edit_json(root, edit)

    return make


def _to_corners(content: dict[str, Any]) -> None:
    for entry in content["annotations"]:
        x, y, width, height = entry["bbox"]
        entry["bbox"] = [x, y, x + width, y + height]


def _to_shares(content: dict[str, Any]) -> None:
    for entry in content["annotations"]:
        x, y, width, height = entry["bbox"]
        entry["bbox"] = [x / WIDTH, y / HEIGHT, width / WIDTH, height / HEIGHT]


def _repeated(content: dict[str, Any], **changed: Any) -> None:
    content["annotations"].append({**content["annotations"][0], "id": 999, **changed})


def _leak(**options: Any) -> Callable[[Path], None]:
    """An image of train in val too, under another name."""

    def make(root: Path) -> None:
        name = f"copy.{options.pop('suffix', 'png')}"
        size = options.pop("size", None)
        image = Image.open(root / "train2017" / "train_2.png")
        image = image if size is None else image.resize(size)
        image.save(root / "val2017" / name, **options)
        entry = {"id": 9, "file_name": name, "width": image.width, "height": image.height}
        edit_json(root, lambda content: content["images"].append(entry), "val")

    return make


def _no_class(label: int, split: str) -> Callable[[Path], None]:
    def edit(content: dict[str, Any]) -> None:
        content["annotations"] = [entry for entry in content["annotations"] if entry["category_id"] != label]

    return lambda root: edit_json(root, edit, split)


def _two_lights(content: dict[str, Any]) -> None:
    content["categories"] += [{"id": 3, "name": "traffic light"}, {"id": 4, "name": "traffic-light"}]


def _tiny(content: dict[str, Any]) -> None:
    for entry in content["annotations"]:
        entry.update(bbox=[*entry["bbox"][:2], 5, 5], area=25)
        entry.pop("segmentation")


def _corner(place: int, **values: Any) -> Callable[[ElementTree.Element], None]:
    def edit(root: ElementTree.Element) -> None:
        box = root.findall("object")[place].find("bndbox")
        assert box is not None
        for key, value in values.items():
            node = box.find(key)
            assert node is not None
            node.text = str(value)

    return edit


def _voc(edit: Callable[[ElementTree.Element], Any], stem: str = "train_1") -> Callable[[Path], None]:
    return lambda root: edit_xml(root, stem, edit)


def _text(path: str, value: str) -> Callable[[ElementTree.Element], None]:
    def edit(root: ElementTree.Element) -> None:
        node = root.find(path)
        assert node is not None
        node.text = value

    return edit


def _line(number: int, value: str, name: str = "train/train_1") -> Callable[[Path], None]:
    def edit(lines: list[str]) -> None:
        lines[number - 1] = value

    return lambda root: edit_lines(root / "labels" / f"{name}.txt", edit)


def _mask(write: Callable[[Path], Any]) -> Callable[[Path], None]:
    return lambda root: write(root / "masks" / "train" / "train_1.png")


def _values(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    Image.fromarray(change(np.array(Image.open(path)))).save(path)


def _with_id_7(values: np.ndarray) -> np.ndarray:
    values[10:14, 10:14] = 7
    return values


A102, P1, X1, L1 = "annotation 102", "train2017/train_1.png", "Annotations/train_1.xml", "labels/train/train_1.txt"
COCO = [
    ("truncated-json", "not-json", TRAIN, "", _image_file(_cut, f"annotations/{TRAIN}"), "error", False),
    ("results-list", "not-coco", TRAIN, "", lambda root: json_path(root).write_text("[]"), "error", False),
    ("no-list", "not-coco", TRAIN, "", lambda root: edit_json(root, lambda c: c.pop("categories")), "error", False),
    ("category-without-name", "bad-category", TRAIN, "categories[1]",
     lambda root: edit_json(root, lambda c: c["categories"][1].pop("name"))),
    ("category-id-twice", "duplicate-category", TRAIN, "categories[2]",
     lambda root: edit_json(root, lambda c: c["categories"].append({"id": 1, "name": "tree"}))),
    ("category-name-twice", "duplicate-category", TRAIN, "categories[2]",
     lambda root: (edit_json(root, lambda c: c["categories"].append({"id": 5, "name": " car"})),
                   _annotation(category_id=5)(root))),
    ("category-name-unused", "placeholder-category", TRAIN, "categories[2]",
     lambda root: edit_json(root, lambda c: c["categories"].append({"id": 5, "name": "car"})), "warning"),
    ("category-of-the-project", "placeholder-category", TRAIN, "categories[2]",
     lambda root: edit_json(root, lambda c: c["categories"].append({"id": 0, "name": "x", "supercategory": "none"})),
     "warning"),
    ("category-name-with-dash", "similar-classes", "data=coco split=train", "class traffic-light",
     lambda root: edit_json(root, _two_lights), "warning"),
    ("category-in-capitals", "similar-classes", "data=coco split=train", "class CAR",
     lambda root: edit_json(root, lambda c: c["categories"].append({"id": 3, "name": "CAR"})), "warning"),
    ("category-gap", "category-gap", TRAIN, "category 7",
     lambda root: edit_json(root, lambda c: c["categories"].append({"id": 7, "name": "tree"})), "note"),
    ("image-id-is-text", "bad-image", TRAIN, "images[1]", _image_entry(1, id="two")),
    ("image-id-in-quotes", "odd-number", TRAIN, "images[1]", _image_entry(1, id="2"), "note"),
    ("image-id-is-float", "odd-number", TRAIN, "images[1]", _image_entry(1, id=2.0), "note"),
    ("image-id-twice", "duplicate-image-id", TRAIN, "images[1]", _image_entry(1, id=1)),
    ("image-listed-twice", "listed-twice", TRAIN, "images[5]",
     lambda root: edit_json(root, lambda c: c["images"].append({**c["images"][0], "id": 50})), "warning"),
    ("path-escape", "odd-path", TRAIN, "image 2", _image_entry(1, file_name="../train2017/train_1.png"), "warning"),
    ("size-unstated", "unstated-size", TRAIN, "image 2",
     lambda root: edit_json(root, lambda c: c["images"][1].pop("width")), "note"),
    ("size-wrong", "wrong-size", P1, "", _image_entry(1, width=WIDTH * 2, height=HEIGHT * 2)),
    ("size-swapped", "swapped-size", P1, "", _image_entry(1, width=HEIGHT, height=WIDTH)),
    ("bbox-missing", "bad-annotation", TRAIN, A102, _annotation(bbox=None, segmentation=None)),
    ("bbox-empty", "box-from-mask", TRAIN, A102, _annotation(bbox=[]), "warning"),
    ("bbox-of-text", "bad-annotation", TRAIN, A102, _annotation(bbox=["a", "2", "3", "4"])),
    ("bbox-of-three", "bad-annotation", TRAIN, A102, _annotation(bbox=[1, 2, 3])),
    ("bbox-nan", "bad-number", TRAIN, A102, _annotation(bbox=[5, 5, float("nan"), 9])),
    ("bbox-infinite", "bad-number", TRAIN, A102, _annotation(bbox=[5, 5, float("inf"), 9])),
    ("bbox-zero", "zero-area", TRAIN, A102, _annotation(bbox=[56, 4, 0, 24])),
    ("bbox-negative", "negative-area", TRAIN, A102, _annotation(bbox=[56, 4, -20, 24])),
    ("bbox-outside", "outside-image", TRAIN, A102, _annotation(bbox=[WIDTH + 5, 4, 20, 20])),
    ("bbox-overhangs", "out-of-range", TRAIN, A102, _annotation(bbox=[80, 4, 30, 24]), "warning"),
    ("bbox-corners", "corners-not-sizes", TRAIN, "annotation 101", lambda root: edit_json(root, _to_corners)),
    ("bbox-shares", "shares-not-pixels", TRAIN, "annotation 101", lambda root: edit_json(root, _to_shares)),
    ("bbox-tiny", "tiny-box", TRAIN, A102, _annotation(bbox=[56, 4, 1, 1], area=1), "warning"),
    ("bbox-whole-image", "whole-image-box", TRAIN, A102, _annotation(bbox=[0, 0, WIDTH, HEIGHT]), "note"),
    ("bbox-thin", "thin-box", TRAIN, A102, _annotation(bbox=[2, 4, 90, 3]), "note"),
    ("bbox-twice", "duplicate-box", TRAIN, "annotation 999", lambda root: edit_json(root, _repeated), "warning"),
    ("bbox-two-classes", "two-class-box", TRAIN, "annotation 999",
     lambda root: edit_json(root, lambda c: _repeated(c, category_id=2)), "note"),
    ("annotation-id-0", "annotation-id-0", TRAIN, "annotations[1]", _annotation(id=0), "warning"),
    ("annotation-id-twice", "duplicate-annotation", TRAIN, "annotation 101", _annotation(id=101), "warning"),
    ("dangling-image", "unknown-image", TRAIN, A102, _annotation(image_id=77)),
    ("dangling-category", "unknown-category", TRAIN, A102, _annotation(category_id=77)),
    ("polygon-odd", "bad-segmentation", TRAIN, A102, _annotation(segmentation=[[1, 2, 3, 4, 5]]), "warning"),
    ("mask-of-other-size", "bad-segmentation", TRAIN, A102,
     _annotation(segmentation={"counts": "ab", "size": [9, 9]}), "warning"),
    ("polygon-elsewhere", "box-off-polygon", TRAIN, A102, _annotation(segmentation=[[1, 1, 9, 1, 9, 9]]), "warning"),
    ("crowd-2", "bad-crowd", TRAIN, A102, _annotation(iscrowd=2), "warning"),
    ("crowd-perhaps", "bad-crowd", TRAIN, A102, _annotation(iscrowd="perhaps"), "warning"),
    ("crowd-in-quotes", "odd-number", TRAIN, "annotations[1]", _annotation(iscrowd="0"), "note"),
    ("area-negative", "wrong-area", TRAIN, A102, _annotation(area=-5), "warning"),
    ("image-missing", "missing-image", P1, "", _image_file(Path.unlink)),
    ("image-empty", "unreadable-image", P1, "", _image_file(lambda path: path.write_bytes(b""))),
    ("image-is-text", "unreadable-image", P1, "", _image_file(lambda path: path.write_text("<html>404</html>"))),
    ("image-cut-off", "truncated-image", P1, "", _image_file(_cut)),
    ("image-corrupt", "corrupt-image", P1, "", _image_file(_flip_bytes)),
    ("image-bomb", "decompression-bomb", P1, "", _image_file(_bomb)),
    ("image-grey", "grey-image", P1, "", _image_file(_mode("L")), "note"),
    ("image-rgba", "alpha-image", P1, "", _image_file(_mode("RGBA")), "note"),
    ("image-16-bit", "deep-image", P1, "", _image_file(_deep), "note"),
    ("image-cmyk", "cmyk-image", "train_1.jpg", "",
     lambda root: (_coco_as("jpg")(root), _mode("CMYK")(root / "train2017" / "train_1.jpg")), "note"),
    ("image-misnamed", "wrong-suffix", P1, "", _image_file(lambda path: save(path, 1, format="JPEG")), "note"),
    ("image-animated", "animated-image", "train_1.gif", "",
     _coco_as("gif", save_all=True, append_images=[Image.fromarray(pixels(50))]), "note"),
    ("image-unlisted", "unlisted-image", "train2017", "spare.png",
     lambda root: save(root / "train2017" / "spare.png", 60), "note"),
    ("image-twice", "duplicate-images", "train_4.png", "train_1.png",
     lambda root: shutil.copy(root / "train2017" / "train_1.png", root / "train2017" / "train_4.png"), "warning"),
    ("leak-copied", "split-leak", "val2017/copy.png", "train_2.png", _leak()),
    ("leak-resaved", "split-leak", "val2017/copy.jpg", "train_2.png", _leak(suffix="jpg", quality=60)),
    ("leak-scaled", "split-leak", "val2017/copy.png", "train_2.png", _leak(size=(WIDTH * 2, HEIGHT * 2))),
    ("exif-boxes-unturned", "exif-frame", "train_1.jpg", "", _rotated(6, stated=(HEIGHT, WIDTH), tall=True)),
    ("exif-stated-unturned", "exif-rotation", "train_1.jpg", "", _rotated(6), "warning"),
    ("exif-upside-down", "exif-rotation", "train_1.jpg", "", _rotated(3), "warning"),
    ("class-unused", "unused-class", "data=coco split=train", "class tree",
     lambda root: edit_json(root, lambda c: c["categories"].append({"id": 3, "name": "tree"})), "warning"),
    ("class-not-in-train", "class-not-in-train", "data=coco split=train", "class car", _no_class(1, "train"), "warning"),
    ("class-not-in-val", "class-not-in-val", "data=coco split=train", "class car", _no_class(1, "val"), "note"),
    ("class-rare", "rare-class", "data=coco split=train", "class person",
     lambda root: edit_json(root, lambda c: c["annotations"].pop(1)), "note"),
    ("nothing-labelled", "no-boxes", "data=coco split=train", "",
     lambda root: edit_json(root, lambda c: c["annotations"].clear()), "error", False),
    ("image-without-boxes", "unlabelled-image", "data=coco split=train", "train_0.png",
     lambda root: edit_json(root, lambda c: c.update(annotations=c["annotations"][4:])), "note"),
    ("boxes-under-the-anchors", "anchor-coverage", "data=coco split=train", "small boxes",
     lambda root: edit_json(root, _tiny), "warning"),
]  # fmt: skip
VOC = [
    ("xml-cut-off", "bad-xml", X1, "", lambda root: _cut(root / X1)),
    ("xml-missing", "missing-annotation", X1, "", lambda root: (root / X1).unlink()),
    ("corners-equal", "zero-area", X1, "object 2 (person)", _voc(_corner(1, xmin=60, xmax=60))),
    ("corners-reversed", "negative-area", X1, "object 2 (person)", _voc(_corner(1, xmin=84, xmax=57))),
    ("corner-outside", "outside-image", X1, "object 2 (person)", _voc(_corner(1, xmin=200, xmax=230))),
    ("corner-beyond", "out-of-range", X1, "object 2 (person)", _voc(_corner(1, xmax=130)), "warning"),
    ("corner-0", "zero-based", X1, "object 1 (car)", _voc(_corner(0, xmin=0)), "note"),
    ("corner-is-text", "bad-annotation", X1, "object 2", _voc(_corner(1, xmin="left"))),
    ("object-without-box", "bad-annotation", X1, "object 5", _voc(lambda root: ElementTree.SubElement(root, "object"))),
    ("object-twice", "duplicate-box", X1, "object 5 (car)",
     _voc(lambda root: add_object(root, "car", (7, 5, 6 + BOX[0], 4 + BOX[1]))), "warning"),
    ("class-in-capitals", "similar-classes", "data=voc split=train", "class car", _voc(_text("object/name", "Car")), "warning"),
    ("difficult-unspecified", "bad-difficult", X1, "object 1 (car)",
     _voc(lambda root: setattr(ElementTree.SubElement(root.findall("object")[0], "difficult"), "text", "Unspecified")),
     "warning"),
    ("size-of-another", "wrong-size", "JPEGImages/train_1.png", "", _voc(_text("size/width", "500"))),
    ("size-exchanged", "swapped-size", "JPEGImages/train_1.png", "",
     _voc(lambda root: (_text("size/width", str(HEIGHT))(root), _text("size/height", str(WIDTH))(root)))),
    ("other-filename", "other-filename", X1, "filename", _voc(_text("filename", "train_2.png")), "warning"),
    ("voc-image-missing", "missing-image", "train_1.jpg", "", lambda root: (root / "JPEGImages/train_1.png").unlink()),
    ("voc-in-two-splits", "split-leak", "JPEGImages/train_1.png", "train_1.png",
     lambda root: edit_lines(root / "ImageSets/Main/val.txt", lambda lines: lines.append("train_1"))),
    ("voc-listed-twice", "listed-twice", "ImageSets/Main/train.txt", "train_1",
     lambda root: edit_lines(root / "ImageSets/Main/train.txt", lambda lines: lines.append("train_1")), "warning"),
]  # fmt: skip
YOLO = [
    ("line-of-words", "bad-annotation", L1, "line 2", _line(2, "car 0.5 0.5 0.1 0.1")),
    ("line-too-short", "bad-annotation", L1, "line 2", _line(2, "1 0.5 0.5 0.1")),
    ("line-in-pixels", "not-normalised", L1, "line 2", _line(2, "1 48 32 20 20")),
    ("class-unknown", "unknown-category", L1, "line 2", _line(2, "9 0.5 0.5 0.1 0.1")),
    ("class-of-one-half", "unknown-category", L1, "line 2", _line(2, "0.5 0.5 0.5 0.1 0.1")),
    ("share-nan", "not-normalised", L1, "line 2", _line(2, "1 nan 0.5 0.1 0.1")),
    ("share-negative", "negative-area", L1, "line 2", _line(2, "1 0.5 0.5 -0.1 0.1")),
    ("share-zero", "zero-area", L1, "line 2", _line(2, "1 0.5 0.5 0 0.1")),
    ("share-outside", "outside-image", L1, "line 2", _line(2, "1 1.5 0.5 0.1 0.1")),
    ("share-overhangs", "out-of-range", L1, "line 2", _line(2, "1 0.95 0.5 0.3 0.3"), "warning"),
    ("line-twice", "duplicate-box", L1, "line 5",
     lambda root: edit_lines(root / L1, lambda lines: lines.append(lines[0])), "warning"),
    ("labels-binary", "bad-text", L1, "", lambda root: (root / L1).write_bytes(b"\xff\x00\x01")),
    ("label-without-image", "label-without-image", "labels/train/spare.txt", "",
     lambda root: (root / "labels/train/spare.txt").write_text("0 0.5 0.5 0.1 0.1\n"), "warning"),
    ("labels-gone", "no-labels", "labels/train", "", lambda root: shutil.rmtree(root / "labels/train"), "error", False),
    ("names-with-gap", "bad-yaml", "", "",
     lambda root: edit_lines(root / "data.yaml", lambda lines: lines.append("  5: tree")), "error", False),
    ("yaml-broken", "bad-yaml", "data.yaml", "", lambda root: (root / "data.yaml").write_text("names: [car"), "error", False),
    ("names-gone", "no-class-names", "", "",
     lambda root: (root / "data.yaml").write_text("train: images/train\nval: images/val\n"), "error", False),
    ("names-alike", "similar-classes", "data=yolo split=train", "class CAR",
     lambda root: edit_lines(root / "data.yaml", lambda lines: lines.append("  2: CAR")), "warning"),
    ("yolo-image-cut-off", "truncated-image", "images/train/train_1.png", "", _image_file(_cut, "images/train/train_1.png")),
]  # fmt: skip
MASKS = [
    ("mask-missing", "missing-mask", "images/train/train_1.png", "", _mask(Path.unlink)),
    ("mask-cut-off", "unreadable-mask", "masks/train/train_1.png", "", _mask(_cut)),
    ("mask-of-colours", "unreadable-mask", "masks/train/train_1.png", "", _mask(_mode("RGB"))),
    ("mask-unknown-id", "unknown-id", "masks/train/train_1.png", "", _mask(lambda path: _values(path, _with_id_7))),
    ("mask-wrong-size", "wrong-size", "masks/train/train_1.png", "",
     _mask(lambda path: _values(path, lambda values: values[:32, :32]))),
    ("mask-all-ignored", "empty-mask", "masks/train/train_1.png", "",
     _mask(lambda path: _values(path, lambda values: np.full_like(values, 255))), "warning"),
    ("mask-of-no-image", "missing-image", "masks/train/spare.png", "",
     lambda root: shutil.copy(root / "masks/train/train_1.png", root / "masks/train/spare.png")),
    ("mask-image-cut-off", "truncated-image", "images/train/train_1.png", "", _image_file(_cut, "images/train/train_1.png")),
]  # fmt: skip


def _defects(data: str, rows: list[tuple[Any, ...]]) -> list[Defect]:
    return [Defect(name, data, *rest) for name, *rest in rows]


DEFECTS = _defects("coco", COCO) + _defects("voc", VOC) + _defects("yolo", YOLO) + _defects("masks", MASKS)
