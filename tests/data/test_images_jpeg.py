"""Training's quick decoder, against Pillow's: the same pixels, or none at all."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from effdet.data.checks import DataError
from effdet.data.images import decode_jpeg, read_image


def photo(height: int, width: int) -> Image.Image:
    ys, xs = np.mgrid[:height, :width]
    waves = 127 + 90 * np.sin(ys / 11)[..., None] * np.cos(xs / 6)[..., None] * np.array([1.0, -0.7, 0.5])
    return Image.fromarray(
        (waves + np.random.default_rng(0).normal(0, 9, (height, width, 3))).clip(0, 255).astype("u1")
    )


def encoded(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "options", [{}, {"quality": 35}, {"subsampling": 0}, {"subsampling": 1}, {"progressive": True}, {"keep_rgb": True}]
)
@pytest.mark.parametrize(("size", "goal"), [((121, 203), (121, 203)), ((121, 203), (60, 90)), ((257, 131), (20, 16))])
def test_the_same_pixels(tmp_path, options, size, goal):
    content = encoded(photo(*size), **options)
    with Image.open(io.BytesIO(content)) as image:
        image.draft("RGB", goal[::-1])
        expected = np.asarray(image.convert("RGB"))
    found = decode_jpeg(content, size, goal)
    assert found is not None and found.dtype == np.uint8 and found.flags.c_contiguous
    assert np.array_equal(found, expected)
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    assert np.array_equal(read_image(path, at_least=goal), expected)
    assert np.array_equal(read_image("name.jpg", at_least=goal, content=content), expected)


def test_a_rotated_image_is_rotated(tmp_path):
    tags = Image.Exif()
    tags[0x0112] = 6
    (tmp_path / "a.jpg").write_bytes(encoded(photo(40, 90), exif=tags))
    whole = read_image(tmp_path / "a.jpg")
    assert whole.shape == (90, 40, 3)
    assert np.array_equal(read_image(tmp_path / "a.jpg", at_least=(90, 40)), whole)
    # A set that states the size as stored was labelled without the turn.
    stored = read_image(tmp_path / "a.jpg", size=(40, 90))
    assert np.array_equal(read_image(tmp_path / "a.jpg", size=(40, 90), at_least=(40, 90)), stored)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_are_pillows(tmp_path, mode):
    (tmp_path / "a.jpg").write_bytes(encoded(photo(64, 96).convert(mode)))
    whole = read_image(tmp_path / "a.jpg")
    assert np.array_equal(read_image(tmp_path / "a.jpg", at_least=(64, 96)), whole)


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    content = encoded(photo(300, 300))
    assert decode_jpeg(content[: len(content) // 2], (300, 300), (300, 300)) is None
    assert decode_jpeg(content + b"\0" * 7, (300, 300), (300, 300)) is not None  # some cameras pad
    path = tmp_path / "a.jpg"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"a\.jpg: cannot be decoded \(.*truncated"):
        read_image(path, at_least=(300, 300))
    with pytest.warns(UserWarning, match=r"a\.jpg: cut off"):
        assert read_image(path, at_least=(300, 300), on_error="warn").shape == (300, 300, 3)


def test_broken_inside(tmp_path):
    """Nothing behind the header: both ways give the same image, or refuse it."""
    content = bytearray(encoded(photo(64, 64)))
    start = content.index(b"\xff\xda")
    path = tmp_path / "a.jpg"
    path.write_bytes(bytes(content[: start + 4]) + b"\xff\xd9")
    found: list[np.ndarray | None] = []
    for goal in (None, (64, 64)):
        try:
            found.append(read_image(path, at_least=goal))
        except DataError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)
            found.append(None)
    whole, quick = found
    assert (whole is None and quick is None) or np.array_equal(whole, quick)  # type: ignore[arg-type]
