"""Small files that mean harm: they are refused by their header or their form, at once and in one line."""

from __future__ import annotations

import json
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from effdet.data import DataError, DataSpec, open_dataset, read_image
from effdet.data.images import MAX_PIXELS, image_sizes
from effdet.inference.image import as_array


@pytest.fixture(autouse=True)
def at_once() -> Iterator[None]:
    started = time.process_time()
    yield
    assert time.process_time() - started < 5


def refused(name: str, root: Path) -> str:
    with pytest.raises(DataError) as caught:
        open_dataset(DataSpec(name, root=root))
    assert len(str(caught.value).splitlines()) <= 12
    return str(caught.value)


@pytest.fixture
def voc(tmp_path: Path) -> Callable[..., Path]:
    def write(annotation: bytes) -> Path:
        for directory in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (tmp_path / directory).mkdir(parents=True)
        Image.new("RGB", (64, 48)).save(tmp_path / "JPEGImages/a.jpg")
        (tmp_path / "ImageSets/Main/train.txt").write_text("a\n")
        (tmp_path / "Annotations/a.xml").write_bytes(annotation)
        return tmp_path

    return write


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
BILLION = (
    f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]><annotation><filename>&l9;</filename></annotation>'
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_billion_laughs(voc: Callable[..., Path], encoding: str) -> None:
    text = BILLION.replace('"1.0"', f'"1.0" encoding="{encoding}"')
    assert "DOCTYPE" in refused("voc", voc(text.encode(encoding)))


def test_an_entity_that_reads_a_file(voc: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("password")
    text = f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{tmp_path}/secret">]><annotation><object><name>&x;</name></object></annotation>'
    said = refused("voc", voc(text.encode()))
    assert "DOCTYPE" in said and "password" not in said


@pytest.mark.parametrize("content", [b"<a>" * 200_000, b"<annotation " + b"a='1' " * 3 + b"/>", b"\xff\xfe<\0a\0", b""])
def test_odd_xml(voc: Callable[..., Path], content: bytes) -> None:
    refused("voc", voc(content))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"images": ' + "[" * 50_000 + "]" * 50_000 + "}",
        '{"images": [], "annotations": [], "categories": [{"id": ' + "9" * 10_000 + ', "name": "x"}]}',
        '{"images": [{"id": 1, "file_name": "\\ud800.png"}], "annotations": [], "categories": [{"id": 1, "name": "\\udfff"}]}',
        '{"images": [{"id": 1e400, "file_name": "a.png"}], "annotations": [], "categories": [{"id": 1, "name": "x"}]}',
        '{"images": [{"id": 1, "file_name": "a\\u0000.png"}], "annotations": [], "categories": [{"id": 1, "name": "x"}]}',
        '{"images": [{"id": 1, "file_name": "../../../etc/hosts"}], "annotations": [], "categories": [{"id": 1, "name": "x"}]}',
    ],
    ids=["deep", "deep inside", "digits", "surrogates", "infinite id", "NUL", "outside"],
)
def test_coco(text: str, tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "train2017").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "train2017/a.png")
    (tmp_path / "annotations/instances_train2017.json").write_text(text)
    refused("coco", tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(12))
        + "names: [*m, *m]\n",
        "names: " + "[" * 5000 + "]" * 5000,
        "names: !!python/object/apply:os.system ['true']",
        "names: {? [1, 2] : 3}",
    ],
    ids=["aliases", "deep", "python", "odd key"],
)  # fmt: skip
def test_yaml(text: str, tmp_path: Path) -> None:
    (tmp_path / "images/train").mkdir(parents=True)
    (tmp_path / "labels/train").mkdir(parents=True)
    Image.new("RGB", (64, 48)).save(tmp_path / "images/train/a.png")
    (tmp_path / "labels/train/a.txt").write_text("0 .5 .5 .2 .2\n")
    (tmp_path / "data.yaml").write_text(text)
    refused("yolo", tmp_path)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *extra: bytes, rows: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    )


FULL = struct.pack("<HHHH", 0, 0, 65535, 65535)
BOMBS = {
    "a giant": png(100_000, 100_000, rows=bytes(10_000_000)),
    "just over": png(MAX_PIXELS // 1000 + 1, 1000),
    "a text chunk": png(8, 8, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(200_000_000), 9)), rows=bytes(8 * 25)),
    "a colour profile": png(8, 8, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(200_000_000), 9)), rows=bytes(8 * 25)),
    "a GIF": b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b"\x2c" + FULL + b"\0\x02\0;",
    "a BMP": b"BM"
    + struct.pack("<IHHI", 54, 0, 0, 54)
    + struct.pack("<IiiHHIIiiII", 40, 200_000, 200_000, 1, 24, 0, 0, 0, 0, 0, 0),
    "a TIFF": b"II*\0"
    + struct.pack("<IH", 8, 3)
    + b"".join(struct.pack("<HHII", tag, 4, 1, side) for tag, side in ((256, 10**6), (257, 10**6), (262, 1)))
    + bytes(4),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_images(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(BOMBS[kind])
    for read in (read_image, image_sizes, as_array):
        try:
            read(path)
        except DataError as error:
            assert len(str(error).splitlines()) == 1
            if kind == "just over":  # Pillow refuses it itself, with a text about attacks and no way out
                assert str(error).endswith(
                    "a.png: cannot be decoded (178,957,000 pixels are more than the bound of 178,956,970: make it smaller, "
                    "or cut it into parts)"
                )
        else:
            assert kind in ("a text chunk", "a colour profile"), "such a chunk may be passed over, unread"


def test_labels_of_one_endless_line(tmp_path: Path) -> None:
    (tmp_path / "images/train").mkdir(parents=True)
    (tmp_path / "labels/train").mkdir(parents=True)
    Image.new("RGB", (64, 48)).save(tmp_path / "images/train/a.png")
    (tmp_path / "data.yaml").write_text(json.dumps({"names": ["x"]}))
    for line in ("0 " + ".5 " * 200_001, "9" * 100_000 + " .5 .5 .1 .1", "0 1e999 .5 .1 .1", "0 nan .5 .1 .1"):
        (tmp_path / "labels/train/a.txt").write_text(line)
        refused("yolo", tmp_path)
