"""Whatever a file holds, RGB bytes come out, or one line that names it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image

from effdet.data import images
from effdet.data.checks import DataError
from effdet.data.images import image_sizes, read_image

ORIENTATION = 0x0112


def exif(turn: int) -> Image.Exif:
    tags = Image.Exif()
    tags[ORIENTATION] = turn
    return tags


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("L", 100, (100, 100, 100)),
        ("RGB", (10, 20, 30), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), (10, 20, 30)),  # the alpha channel is dropped, not composited
        ("LA", (50, 7), (50, 50, 50)),
        ("1", 1, (255, 255, 255)),
        ("I;16", 65535, (255, 255, 255)),
        ("I;16", 257 * 90, (90, 90, 90)),
        ("I", 257 * 90, (90, 90, 90)),
    ],
)
def test_modes(tmp_path, mode, value, expected):
    path = tmp_path / ("a.tif" if mode == "I" else "a.png")
    Image.new(mode, (5, 3), value).save(path)
    pixels = read_image(path)
    assert pixels.shape == (3, 5, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert (pixels == np.array(expected)).all()


def test_palette_with_transparency(tmp_path):
    path = tmp_path / "a.png"
    image = Image.new("P", (4, 4), 1)
    image.putpalette([9, 9, 9, 40, 50, 60])
    image.save(path, transparency=1)
    assert (read_image(path) == (40, 50, 60)).all()


def test_cmyk_jpeg(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(path)
    red, green, blue = read_image(path)[4, 4].tolist()
    assert red > 200
    assert green < 80
    assert blue < 80


def test_float_tiff(tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(np.full((2, 2), 0.5, np.float32)).save(path)
    assert (read_image(path) == 128).all()


def test_exif_turns_the_image(image):
    # Orientation 6: shown turned by 90° clockwise; the bright top-left corner comes to the top right.
    path = image("a.png", size=(20, 40), box=(0, 0, 5, 5), exif=exif(6))
    pixels = read_image(path)
    assert pixels.shape == (40, 20, 3)
    assert pixels[0, -1, 0] == 255
    assert pixels[0, 0, 0] == 0
    assert image_sizes(path) == ((40, 20), (20, 40))


def test_frame_follows_the_size_that_the_set_states(image):
    path = image("a.png", size=(20, 40), box=(0, 0, 5, 5), exif=exif(6))
    assert read_image(path, size=(40, 20)).shape == (40, 20, 3)
    stored = read_image(path, size=(20, 40))
    assert stored.shape == (20, 40, 3)
    assert stored[0, 0, 0] == 255
    with pytest.raises(DataError, match=r"the set says 30×30 \(width × height\), the file has 40×20"):
        read_image(path, size=(30, 30))


def test_half_turn_is_always_applied(image):
    path = image("a.png", size=(20, 40), box=(0, 0, 5, 5), exif=exif(3))
    assert read_image(path, size=(20, 40))[-1, -1, 0] == 255


@pytest.mark.parametrize("turn", [1, 6])
def test_reduced_decoding_is_no_smaller_than_asked(image, turn):
    path = image("a.jpg", size=(400, 800), exif=exif(turn))
    full = read_image(path)
    goal = (90, 180) if turn == 1 else (180, 90)
    reduced = read_image(path, at_least=goal)
    assert reduced.shape[0] * 4 == full.shape[0]
    assert reduced.shape[1] * 4 == full.shape[1]


def test_truncated_jpeg(image):
    whole = image("a.jpg", size=(200, 200), box=(0, 0, 200, 200))
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(DataError, match=r"a\.jpg: cannot be decoded \(.*truncated"):
        read_image(whole)
    with pytest.warns(UserWarning, match=r"a\.jpg: cut off"):
        assert read_image(whole, on_error="warn").shape == (200, 200, 3)
    with pytest.raises(DataError):  # the library's switch is back where it was
        read_image(whole)


@pytest.mark.parametrize(
    "content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"GIF89a\1", b"II*\0" + b"\xff" * 30]
)
def test_what_is_no_image_is_one_line(tmp_path, content):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    for reader in (read_image, image_sizes):
        with pytest.raises(DataError) as caught:
            reader(path)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)


def test_missing_image(tmp_path):
    with pytest.raises(DataError, match="no such image"):
        read_image(tmp_path / "none.jpg")


def test_bomb_is_refused_by_its_header(image, monkeypatch):
    path = image("a.png", size=(50, 50))
    monkeypatch.setattr(images, "MAX_PIXELS", 2499)
    with pytest.raises(DataError, match="50×50 pixels are more than the bound of 2,499"):
        read_image(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        with pytest.raises(DataError, match="cannot be decoded"):
            read_image(path)
