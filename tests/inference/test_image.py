import numpy as np
import pytest
import torch
from PIL import Image

from effdet.inference import as_array
from heads.structures import UserError


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def test_all_forms_of_one_image_agree(pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "a b.png")
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    inputs = (
        pixels,
        Image.fromarray(pixels),
        tmp_path / "a b.png",
        str(tmp_path / "a b.png"),
        tensor,
        tensor.float() / 255,
    )
    for form in inputs:
        found = as_array(form)
        assert found.dtype == np.uint8 and (found == pixels).all()


def test_grey_alpha_and_deep_images(pixels):
    grey = pixels[..., 0]
    expected = np.repeat(grey[..., None], 3, axis=2)
    assert (as_array(grey) == expected).all()
    assert (as_array(Image.fromarray(grey)) == expected).all()
    assert (as_array(Image.fromarray(grey.astype(np.uint16) * 257)) == expected).all()
    assert (as_array(Image.fromarray(pixels).convert("RGBA")) == pixels).all()


def test_exif_rotation_of_files_and_pil(pixels, tmp_path):
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = 6  # turn by 90° to the right to see it upright
    image.save(tmp_path / "turned.png", exif=exif)
    upright = np.rot90(pixels, k=-1)
    assert (as_array(tmp_path / "turned.png") == upright).all()
    assert (as_array(Image.open(tmp_path / "turned.png")) == upright).all()


def drawn(mode):
    """A small image of `mode`, with values all over its range, drawn by numpy; alpha is neither 0 nor 255."""
    rng = np.random.default_rng(1)
    grey, alpha = rng.integers(0, 256, (6, 9), np.uint8), rng.integers(1, 255, (6, 9), np.uint8)
    colours = rng.integers(0, 256, (6, 9, 3), np.uint8)
    match mode:
        case "1":
            return Image.fromarray(grey > 127)
        case "I":
            return Image.fromarray(rng.integers(0, 65536, (6, 9), np.int32))
        case "I;16" | "I;16L":
            return Image.frombytes(mode, (9, 6), rng.integers(0, 65536, (6, 9)).astype("<u2").tobytes())
        case "I;16B":
            return Image.frombytes(mode, (9, 6), rng.integers(0, 200, (6, 9)).astype(">u2").tobytes())
        case "F":
            return Image.fromarray(rng.uniform(0, 1, (6, 9)).astype(np.float32))
        case "LA" | "La":
            return Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)]).convert(mode)
        case "PA":
            return Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)]).convert("PA")
        case "RGBA" | "RGBa":
            return Image.fromarray(np.dstack([colours, alpha])).convert(mode)
        case "CMYK":
            return Image.frombytes(mode, (9, 6), np.dstack([colours, alpha]).tobytes())
        case "LAB" | "HSV" | "YCbCr":
            return Image.frombytes(mode, (9, 6), colours.tobytes())
    return Image.fromarray(colours).convert(mode)


FORMATS = {
    "1": ["png", "tif", "bmp"], "L": ["png", "tif", "jpg"], "LA": ["png", "tif"], "P": ["png", "gif", "bmp"], "PA": ["tif"],
    "RGB": ["png", "jpg", "webp"], "RGBA": ["png", "tif", "webp"], "RGBX": ["tif"], "CMYK": ["tif", "jpg"],
    "YCbCr": ["tif", "jpg"], "LAB": ["tif"], "I": ["tif"], "I;16": ["png", "tif"], "I;16B": ["tif"], "F": ["tif"],
    "RGBa": ["tif"],
}  # fmt: skip


MODES = [
    *("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"),
    *("I", "I;16", "I;16B", "I;16L", "F"),
]


@pytest.mark.parametrize("mode", MODES)
def test_an_image_by_path_and_as_an_object(mode, tmp_path):
    image = drawn(mode)
    assert image.mode == mode
    found = as_array(image)
    assert found.shape == (6, 9, 3) and found.dtype == np.uint8 and len(np.unique(found)) > 1
    for suffix in FORMATS.get(mode, []):
        path = tmp_path / f"a.{suffix}"
        try:
            image.save(path)
        except (OSError, ValueError):
            assert (mode, suffix) in {("PA", "tif"), ("RGBa", "tif"), ("I;16B", "tif"), ("YCbCr", "tif")}
            continue
        with Image.open(path) as opened:
            assert (as_array(path) == as_array(opened)).all()
            assert (as_array(path) == as_array(opened.copy())).all()
        if suffix not in ("jpg", "webp", "gif") and opened.mode == mode:
            assert (as_array(path) == found).all()


def test_modes_by_hand():
    """Values worked out by hand, one pixel a mode."""

    def pixel(mode, value):
        return as_array(Image.new(mode, (1, 1), value))[0, 0].tolist()

    assert pixel("1", 1) == [255] * 3 and pixel("L", 7) == [7] * 3
    assert pixel("I;16", 257) == [1] * 3 and pixel("I;16", 65535) == [255] * 3 and pixel("I;16B", 128) == [0] * 3
    assert pixel("I", 200) == [200] * 3 and pixel("I", 51400) == [200] * 3 and pixel("I", -5) == [0] * 3
    assert pixel("F", 0.5) == [128] * 3 and pixel("F", 1.0) == [255] * 3 and pixel("F", 200.0) == [200] * 3
    assert pixel("LA", (9, 100)) == [9] * 3 and pixel("RGBA", (1, 2, 3, 0)) == [1, 2, 3]
    assert pixel("RGBa", (50, 100, 10, 100)) == [127, 255, 25], "not multiplied by alpha"
    assert pixel("La", (50, 100)) == [127] * 3
    assert pixel("CMYK", (0, 255, 255, 0)) == [255, 0, 0] and pixel("HSV", (0, 255, 255)) == [255, 0, 0]
    assert pixel("YCbCr", (128, 128, 128)) == [128] * 3
    assert max(abs(value - 119) for value in pixel("LAB", (127, 128, 128))) <= 2, "L* of 50 is sRGB 119"


@pytest.mark.parametrize("mode", ["I", "I;16", "F", "LA", "RGBa"])
def test_drawings_pages_and_statistics_follow_the_same_rule(mode):
    from effdet.drawing import draw
    from effdet.html.page import image as html_image
    from effdet.weights.statistics import _array

    form, pixels = drawn(mode), as_array(drawn(mode))
    assert (np.asarray(draw(form)) == pixels).all()
    assert (_array(form) == pixels).all()
    assert html_image(form, alt="") == html_image(pixels, alt="")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_rotation_of_files_and_objects(pixels, tmp_path, orientation):
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    upright = {
        1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1], 5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, -1), 7: np.rot90(pixels, 2).transpose(1, 0, 2), 8: np.rot90(pixels, 1),
    }[orientation]  # fmt: skip
    assert (as_array(tmp_path / "a.png") == upright).all()
    with Image.open(tmp_path / "a.png") as opened:
        assert (as_array(opened) == upright).all()


def test_arrays_and_tensors_of_every_kind(pixels):
    grey, alpha = pixels[..., :1], np.full_like(pixels[..., :1], 99)
    wide = np.repeat(grey, 3, axis=2)
    read_only, strided = pixels.copy(), np.zeros((40, 60, 3), np.uint8)
    read_only.flags.writeable = False
    strided[::2, ::2] = pixels
    same = {
        "alpha": np.dstack([pixels, alpha]),
        "read-only": read_only,
        "strided": strided[::2, ::2],
        "columns first": np.asfortranarray(pixels),
        "negative strides": pixels[::-1][::-1],
        "uint16": pixels.astype(np.uint16) * 257,
        "float64": pixels / 255,
        "float16": (pixels / 255).astype(np.float16),
        "tensor": torch.from_numpy(pixels).permute(2, 0, 1),
        "bfloat16": (torch.from_numpy(pixels).permute(2, 0, 1).float() / 255).requires_grad_(),
        "tensor with alpha": torch.from_numpy(np.dstack([pixels, alpha])).permute(2, 0, 1),
    }
    for name, form in same.items():
        found = as_array(form)
        assert found.flags.c_contiguous and found.dtype == np.uint8, name
        assert (found == pixels).all(), name
    greys = {
        "(H, W)": grey[..., 0],
        "(H, W, 1)": grey,
        "(H, W, 2)": np.dstack([grey, alpha]),
        "uint16": grey.astype(">u2") * 257,
        "float": grey / 255,
        "(1, H, W)": torch.from_numpy(grey).permute(2, 0, 1),
    }
    for name, form in greys.items():
        assert (as_array(form) == wide).all(), name
    assert (as_array(grey[..., 0] > 99) == np.where(wide > 99, 255, 0)).all()
    assert (as_array(Image.fromarray(grey[..., 0] / np.float32(255))) == wide).all(), "an array, and as mode F"


def test_an_object_that_cannot_be_decoded_is_one_line(pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:300])
    for form in (tmp_path / "a.png", Image.open(tmp_path / "a.png")):
        with pytest.raises(UserError, match=r"a\.png: cannot be decoded \(") as caught:
            as_array(form)
        assert "\n" not in str(caught.value)


def test_a_jpeg_whose_rest_is_zeros_is_refused_either_way(pixels, tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(pixels).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + bytes(len(content) // 2))
    for form in (path, Image.open(path)):
        with pytest.raises(UserError, match=r"a\.jpg: cannot be decoded \(cut off: the rest of the file is zeros\)"):
            as_array(form)


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (np.zeros((4, 4, 3), np.int64), "must be uint8, uint16, bool or float in 0…1, got int64"),
        (np.full((4, 4, 3), -0.5), "must lie in 0…1, got -0.5…-0.5"),
        (np.full((4, 4), np.nan), "must lie in 0…1"),
        (np.full((4, 4), 200.0), "must lie in 0…1, got 200…200"),
        (np.zeros((3, 4, 5), np.uint8), r"got \(3, 4, 5\); is it \(3, H, W\)\? transpose it"),
        (np.zeros((0, 4, 3), np.uint8), "numpy image must be"),
        (np.zeros((4, 4, 3), object), "got object"),
        (torch.zeros(2, 4, 4), r"must be \(3, H, W\), got \(2, 4, 4\)"),
        (torch.zeros(2, 3, 4, 4), r"must be \(3, H, W\), got \(2, 3, 4, 4\): pass a batch as a list"),
        (torch.full((3, 4, 4), 2.0), "must lie in 0…1, got 2…2"),
        (torch.full((3, 4, 4), float("nan")), "must lie in 0…1"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "must be uint8, uint16, bool, or float in 0…1, got torch.int64"),
        (3, "must be a path, a PIL image.* got int"),
        ("no/such.jpg", "no/such.jpg"),
    ],
)
def test_errors(image, text):
    with pytest.raises(UserError, match=text):
        as_array(image)
