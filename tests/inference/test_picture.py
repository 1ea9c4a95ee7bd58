import numpy as np
import pytest
import torch
from PIL import Image

from effdet.inference import as_array
from heads.structures import UserError


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def test_all_forms_of_one_picture_agree(pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "a b.png")
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    forms = (
        pixels,
        Image.fromarray(pixels),
        tmp_path / "a b.png",
        str(tmp_path / "a b.png"),
        tensor,
        tensor.float() / 255,
    )
    for form in forms:
        found = as_array(form)
        assert found.dtype == np.uint8 and (found == pixels).all()


def test_grey_alpha_and_deep_pictures(pixels):
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


@pytest.mark.parametrize(
    ("picture", "text"),
    [
        (np.zeros((4, 4, 3)), "must be uint8 in 0…255, got float64"),
        (np.zeros((3, 4, 4), np.uint8), r"got \(3, 4, 4\); is it \(3, H, W\)\? transpose it"),
        (np.zeros((0, 4, 3), np.uint8), "numpy picture must be"),
        (torch.zeros(2, 3, 4, 4), r"must be \(3, H, W\), got \(2, 3, 4, 4\): pass a batch as a list"),
        (torch.full((3, 4, 4), 2.0), "must lie in 0…1, got 2…2"),
        (torch.full((3, 4, 4), float("nan")), "must lie in 0…1"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "must be uint8, or float in 0…1, got torch.int64"),
        (3, "must be a path, a PIL picture.* got int"),
        ("no/such.jpg", "no/such.jpg"),
    ],
)
def test_errors(picture, text):
    with pytest.raises(UserError, match=text):
        as_array(picture)
