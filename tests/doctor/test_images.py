"""Images that are the same, and images that are not."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from effdet.doctor.facts import look
from effdet.doctor.images import exact_groups, similar_pairs
from tests.doctor.sets import pixels

SIZE = (240, 320)


def thumb(image: Image.Image, directory: Path, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **({"format": "PNG"} | options))
    path = directory / "image"
    path.write_bytes(buffer.getvalue())
    return look(path).thumb


CHANGES: dict[str, tuple[Callable[[Image.Image], Image.Image], dict[str, object]]] = {
    "as it is": (lambda image: image, {}),
    "jpeg 90": (lambda image: image, {"format": "JPEG", "quality": 90}),
    "jpeg 20": (lambda image: image, {"format": "JPEG", "quality": 20}),
    "half": (lambda image: image.resize((160, 120)), {}),
    "double": (lambda image: image.resize((640, 480)), {"format": "JPEG", "quality": 60}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_image_saved_anew_is_the_same(name: str, tmp_path: Path) -> None:
    change, options = CHANGES[name]
    thumbs = [thumb(Image.fromarray(pixels(seed, SIZE)), tmp_path) for seed in range(20)]
    thumbs.append(thumb(change(Image.fromarray(pixels(7, SIZE))), tmp_path, **options))
    assert similar_pairs(thumbs) == {(7, 20): True}


def test_other_images_are_others(tmp_path: Path) -> None:
    image = Image.fromarray(pixels(7, SIZE))
    rotated = [image, ImageOps.mirror(image), ImageOps.flip(image), ImageOps.invert(image)]
    assert similar_pairs([thumb(other, tmp_path) for other in rotated]) == {}


def test_a_small_change_is_nearly_the_same(tmp_path: Path) -> None:
    changed = pixels(7, SIZE).copy()
    changed[90:150, 120:180] = 255 - changed[90:150, 120:180] // 2
    pairs = similar_pairs([thumb(Image.fromarray(each), tmp_path) for each in (pixels(7, SIZE), changed)])
    assert pairs in ({(0, 1): False}, {})  # never called the same


def test_flat_images_say_nothing(tmp_path: Path) -> None:
    flat = [thumb(Image.new("RGB", (40, 30), (level, level, level)), tmp_path) for level in (80, 81)]
    assert similar_pairs(flat) == {}
    assert similar_pairs([]) == {} == similar_pairs([b"", b""])


def test_many_of_one_kind_take_no_time(tmp_path: Path) -> None:
    """Two thousand copies fill one bucket: neighbours are paired, not all with all."""
    one = thumb(Image.fromarray(pixels(3, SIZE)), tmp_path)
    assert 1999 <= len(similar_pairs([one] * 2000)) < 10_000


def test_exact_groups() -> None:
    assert exact_groups([b"a", b"b", b"", b"a", b"", b"b", b"a"]) == [[0, 3, 6], [1, 5]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_thumbnail_is_upright(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = tmp_path / "stored.png"
    Image.fromarray(pixels(5, SIZE)).save(stored, exif=exif)
    upright = tmp_path / "upright.png"
    ImageOps.exif_transpose(Image.open(stored)).save(upright)
    first, second = (np.frombuffer(look(path).thumb, np.uint8).astype(int) for path in (stored, upright))
    assert np.abs(first - second).max() <= 1
