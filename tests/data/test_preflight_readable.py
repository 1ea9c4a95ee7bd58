"""Files that are cut off or broken: found before the first step, and read by one rule on every path."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from effdet.data import DataError
from effdet.data.images import read_image
from effdet.data.own_split import ArrayDataset
from effdet.data.preflight import cut_off, report, undecodable, without_undecodable
from effdet.data.records import Dataset, Record
from heads.structures import ClassTable

SIZE = (96, 128)
KINDS = {"jpg": "JPEG", "png": "PNG", "gif": "GIF"}


def content(kind: str, seed: int = 0, **options: object) -> bytes:
    """A noisy image of `SIZE`, as a file of that kind."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, KINDS[kind], **options)
    return buffer.getvalue()


def source_of(paths: list[Path], split: str = "val") -> Dataset:
    nothing = np.zeros(0)
    records = [
        Record(
            image=path, image_id=number, file_name=path.name, width=SIZE[1], height=SIZE[0],
            boxes=np.zeros((0, 4), np.float32), labels=nothing.astype(np.int64), crowd=nothing.astype(bool),
            area=nothing.astype(np.float32), annotation_ids=nothing.astype(np.int64),
        )
        for number, path in enumerate(paths, 1)
    ]  # fmt: skip
    return Dataset(records, ClassTable.of(["a"]), name="coco", split=split)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Twelve images, of which numbers 3 (a JPEG), 7 (a PNG) and 9 (empty) are not whole."""
    monkeypatch.setenv("EFFDET_CACHE", str(tmp_path / "cache"))
    paths = []
    for number in range(12):
        kind = "png" if number in (6, 7) else "gif" if number == 5 else "jpg"
        data = content(kind, number)
        if number in (3, 7):
            data = data[: len(data) * 2 // 3]
        paths.append(tmp_path / f"{number}.{kind}")
        paths[-1].write_bytes(b"" if number == 9 else data)
    return paths


@pytest.mark.parametrize("find", [undecodable, cut_off])
def test_all_are_named(find, files: list[Path]) -> None:
    source = source_of(files)
    found = find(source)
    assert sorted(found) == [3, 7, 9]
    assert all(str(files[index]) in text for index, text in found.items())
    line = report(source, found, "error", becomes="")
    assert line.startswith("val: 3 of 12 images cannot be decoded: ") and "\n" not in line
    assert all(str(files[index]) in line for index in found) and "data.unreadable=warn" in line
    assert [record.image for record in without_undecodable(source, found).records] == [
        path for number, path in enumerate(files) if number not in (3, 7, 9)
    ]


def test_nothing_left_is_an_error(files: list[Path]) -> None:
    source = source_of([files[3], files[9]])
    with pytest.raises(DataError, match="none of its 2 images can be decoded"):
        without_undecodable(source, undecodable(source))


def test_a_broken_middle_is_found_where_all_is_decoded(files: list[Path]) -> None:
    data = bytearray(content("png", 1))
    data[len(data) // 2] ^= 0xFF  # the end is there
    files[6].write_bytes(bytes(data))
    assert 6 in undecodable(source_of(files))
    assert 6 not in cut_off(source_of(files))


def test_a_split_that_was_decoded_whole_is_remembered_until_a_file_changes(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    valid = [path for number, path in enumerate(files) if number not in (3, 7, 9)]
    assert undecodable(source_of(valid)) == {}
    with monkeypatch.context() as patched:
        patched.setattr(Dataset, "read_image", lambda *_, **__: pytest.fail("read again"))
        assert undecodable(source_of(valid)) == {}
    valid[2].write_bytes(valid[2].read_bytes()[:500])
    assert list(undecodable(source_of(valid))) == [2]
    assert list(undecodable(source_of(valid))) == [2]  # what is broken is looked at each time


def test_bytes_after_the_end_and_images_in_memory_are_no_fault(files: list[Path]) -> None:
    files[0].write_bytes(content("jpg") + b"\0" * 200)
    files[1].write_bytes(content("jpg") + b"appended by a camera" * 9)
    source = source_of(files[:3])
    assert cut_off(source) == undecodable(source) == {}
    pixels = np.zeros((2, 8, 8, 3), np.uint8)
    inside = ArrayDataset(pixels, np.array([0, 0]), ClassTable.of(["a"]), names=["1", "2"], name="x", split="val")
    assert cut_off(inside) == undecodable(inside) == {}


def outcome(path: Path, *, on_error: str, at_least: tuple[int, int] | None) -> str:
    """``error``, ``warned`` or ``read``; of what is read the pixels are left out, since a reduced JPEG has fewer."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            read_image(path, size=SIZE, on_error=on_error, at_least=at_least)
        except DataError:
            return "error"
    return "warned" if any("cut off" in str(warning.message) for warning in caught) else "read"


def broken(way: str, options: dict[str, object]) -> bytes:
    data = content("jpg", 4, **options)
    match way:
        case "whole":
            return data
        case "zeros":  # a download that had its place reserved
            return data[: len(data) // 2] + bytes(len(data) - len(data) // 2)
        case "no end":
            return data[:-2]
        case "thumbnail":  # its end marker stands early in the file
            thumbnail = content("jpg", 5)
            segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
            whole = data[:2] + segment + data[2:]
            return whole[: len(data[:2] + segment) + 30]
    return data[: int(len(data) * float(way))]


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
@pytest.mark.parametrize("way", ["whole", "0.3", "0.6", "0.95", "0.999", "zeros", "no end", "thumbnail"])
def test_training_reads_a_cut_off_jpeg_by_the_rule_of_evaluation(
    way: str, options: dict[str, object], tmp_path: Path
) -> None:
    """OpenCV would give a grey lower half without a word; such a file is never its to read."""
    path = tmp_path / "a.jpg"
    path.write_bytes(broken(way, options))
    for on_error in ("error", "warn"):
        slow = outcome(path, on_error=on_error, at_least=None)
        for at_least in (SIZE, (40, 50), (12, 16)):
            assert outcome(path, on_error=on_error, at_least=at_least) == slow
    if way not in ("whole", "no end"):
        assert outcome(path, on_error="error", at_least=SIZE) == "error"
