"""Mask files: values as written, whatever the file's form; colours and 16 bits are refused."""

import zlib

import numpy as np
import pytest
from PIL import Image

from effdet.data import DataError
from effdet.data.mask_io import UNKNOWN, MaskValues, read_instances, read_values, values_of

VALUES = np.array([[0, 1, 2], [3, 11, 255]], np.uint8)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.pgm"])
def test_grey_values_are_read_as_they_are(mask_file, name):
    assert np.array_equal(read_values(mask_file(name, VALUES)), VALUES)


def test_a_palette_changes_nothing(mask_file):
    path = mask_file("a.png", VALUES, mode="P")
    assert Image.open(path).mode == "P"
    assert np.array_equal(read_values(path), VALUES)


@pytest.mark.parametrize(("bits", "most"), [(1, 1), (2, 3), (4, 15)])
def test_files_of_few_bits_keep_their_values(tmp_path, bits, most):
    """Pillow stretches such grey values to 0 … 255; the file is written here bit by bit."""
    values = np.arange(most + 1, dtype=np.uint8).reshape(1, -1)
    packed = "".join(f"{value:0{bits}b}" for value in values[0])
    row = bytes(int(packed[start : start + 8].ljust(8, "0"), 2) for start in range(0, len(packed), 8))

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)

    header = values.shape[1].to_bytes(4) + (1).to_bytes(4) + bytes([bits, 0, 0, 0, 0])
    path = tmp_path / "few.png"
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    assert np.array_equal(read_values(path), values)


@pytest.mark.parametrize(
    ("values", "overrides"),
    [
        (np.zeros((4, 4, 3), np.uint8), "colours .mode RGB. where class ids are expected"),
        (np.zeros((4, 4, 4), np.uint8), "colours .mode RGBA."),
        (np.zeros((4, 4), np.uint16), "16 bits a pixel or more"),
    ],
)
def test_other_forms_are_refused_in_one_line(mask_file, values, overrides):
    with pytest.raises(DataError, match=overrides) as caught:
        read_values(mask_file("a.png", values))
    assert "\n" not in str(caught.value)


def test_what_cannot_be_read_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="not a mask"):
        read_values(tmp_path / "a.png")
    with pytest.raises(DataError, match="no such mask"):
        read_values(tmp_path / "b.png")


def test_instance_maps_have_16_bits(mask_file):
    values = np.array([[0, 26001], [24, 33017]], np.uint16)
    assert np.array_equal(read_instances(mask_file("a.png", values)), values)
    with pytest.raises(DataError, match="colours"):
        read_instances(mask_file("b.png", np.zeros((2, 2, 3), np.uint8)))


def test_values_to_classes():
    values = MaskValues.of({7: 0, 26: 1}, ignored=(0, 255))
    assert values.table[[0, 7, 26, 255, 8]].tolist() == [255, 0, 1, 255, UNKNOWN]
    counts = np.zeros((2, 256), np.int64)
    counts[0, [0, 7, 26]] = 5, 6, 7
    counts[1, [7, 8]] = 1, 2
    assert values.unknown(counts[0]) == []
    assert values.unknown(counts[1]) == [8]
    assert values.class_pixels(counts, 2).tolist() == [[6, 7], [1, 0]]


def test_names_that_repeat_share_a_class():
    assert values_of(["road", "road", "car"], [7, 8, 26]) == (["road", "car"], {7: 0, 8: 0, 26: 1})
    assert values_of(["a", "b"], None) == (["a", "b"], {0: 0, 1: 1})
    with pytest.raises(DataError, match="3 numbers for the 2 names"):
        values_of(["a", "b"], [1, 2, 3])
    with pytest.raises(DataError, match="names 4 twice"):
        values_of(["a", "b"], [4, 4])
