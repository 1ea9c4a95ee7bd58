"""Windows, mirror images and scales, with networks for which they must change nothing."""

import pytest
import torch
import torch.nn.functional as F

from effdet.preprocess import Preprocess
from heads import semantic_inference
from heads.semantic_inference import SemanticInference, _starts, class_map, probabilities
from heads.structures import Geometry, UserError


def pointwise(images):
    """A network without context: each 4x4 block by itself."""
    return F.avg_pool2d(images, 4) * torch.tensor([1.0, -2.0, 3.0]).view(3, 1, 1)


def test_the_defaults_are_one_pass():
    assert SemanticInference().plain
    assert not SemanticInference(flip=True).plain and not SemanticInference(window=(64, 64)).plain


@pytest.mark.parametrize("overlap", [0.0, 0.33, 0.75])
def test_windows_agree_where_context_does_not_matter(overlap):
    torch.manual_seed(0)
    images = torch.randn(2, 3, 96, 160)
    whole = pointwise(images).softmax(1)
    found = probabilities(pointwise, images, SemanticInference(window=(64, 64), overlap=overlap))
    assert torch.allclose(found, whole, atol=1e-6)


@pytest.mark.parametrize(
    ("length", "window", "overlap"), [(96, 64, 0.33), (160, 64, 0.0), (64, 64, 0.5), (1024, 512, 0.9)]
)
def test_windows_cover_everything_and_stay_inside(length, window, overlap):
    starts = list(_starts(length, window, overlap))
    covered = {pixel for start in starts for pixel in range(start, start + window)}
    assert covered == set(range(length)) and starts == sorted(set(starts))


def test_the_mirror_image_is_mirrored_back():
    torch.manual_seed(0)
    images = torch.randn(1, 3, 64, 96)
    found = probabilities(pointwise, images, SemanticInference(flip=True))
    assert torch.allclose(found, pointwise(images).softmax(1), atol=1e-6)


def context():
    """A network that sees 12 pixels around each 4×4 block, and more to the right than to the left."""
    torch.manual_seed(1)
    weight = torch.randn(3, 3, 12, 12)
    return lambda images: F.conv2d(F.pad(images, (2, 6, 4, 4)), weight, stride=4) * 0.1


def letterboxed(content, width):
    """(3, H, w) on a canvas of `width` columns, with padding only on the right."""
    return F.pad(content, (0, width - content.shape[2]), value=0.7)


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 2.0)])
def test_the_image_is_mirrored_and_not_its_padding(scales):
    """The oracle mirrors the images before they are padded. Their columns are multiples of the stride."""
    torch.manual_seed(0)
    network, contents = context(), [torch.randn(3, 32, width) for width in (64, 40, 96)]
    images = torch.stack([letterboxed(content, 96) for content in contents])
    mirrored = torch.stack([letterboxed(content.flip(2), 96) for content in contents])
    columns = [(0, content.shape[2]) for content in contents]
    found = probabilities(network, images, SemanticInference(flip=True, scales=scales), columns=columns)
    how = SemanticInference(scales=scales)
    straight, back = (probabilities(network, canvas, how) for canvas in (images, mirrored))
    for row, content in enumerate(contents):
        cells = content.shape[2] * found.shape[3] // 96
        expected = (straight[row, ..., :cells] + back[row, ..., :cells].flip(2)) / 2
        edge = (
            slice(None) if len(scales) == 1 else slice(2, cells - 2)
        )  # between grids, cells at the edge mix with padding
        assert torch.allclose(found[row, ..., :cells][..., edge], expected[..., edge], atol=1e-6)
        alone = probabilities(
            network, images[[row]], SemanticInference(flip=True, scales=scales), columns=[columns[row]]
        )
        assert torch.allclose(alone[0, ..., :cells], found[row, ..., :cells], atol=1e-6)


@pytest.mark.parametrize(("left", "right"), [(0, 42), (0, 39), (5, 61), (0, 64)])
def test_images_whose_sides_are_no_multiple_of_the_stride(left, right):
    """A ramp of which the network reads the mean of each block: the mirrored ramp, mirrored back, is the ramp again."""
    ramp = torch.linspace(-1, 1, 64).expand(1, 3, 8, 64).clone()
    ramp[..., :left], ramp[..., right:] = 0.0, 0.0

    def network(images):
        return F.avg_pool2d(images, 4)[:, :1] * torch.tensor([1.0, 0.0]).view(2, 1, 1)

    def odd(values):  # probabilities of two classes, as the logits' difference
        return (values[:, 0] / values[:, 1]).log()

    found = probabilities(network, ramp, SemanticInference(flip=True), columns=[(left, right)])
    plain = odd(network(ramp).softmax(1))
    inside = slice(-(-left // 4) + 1, right // 4 - 1)
    assert torch.allclose(odd(found)[..., inside], plain[..., inside], atol=0.01)


def test_scales_are_averaged_on_the_largest_grid():
    flat = torch.ones(1, 3, 64, 128)
    found = probabilities(pointwise, flat, SemanticInference(scales=(0.5, 1.0, 1.5), flip=True))
    assert found.shape == (1, 3, 24, 48)  # 96 × 192 pixels at stride 4
    assert torch.allclose(found, pointwise(flat).softmax(1).mean((2, 3), keepdim=True).expand_as(found), atol=1e-5)


def test_a_canvas_that_windows_cannot_share_is_named():
    with pytest.raises(UserError, match=r"sliding=\[64, 64\] over 96×98 pixels: all four must be multiples of 4"):
        probabilities(pointwise, torch.zeros(1, 3, 96, 98), SemanticInference(window=(64, 64)))


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"window": (8, 64)}, "semantic.sliding"),
        ({"overlap": 1.0}, "semantic.overlap"),
        ({"scales": ()}, "semantic.scales"),
    ],
)
def test_settings_are_checked(wrong, text):
    with pytest.raises(UserError, match=text):
        SemanticInference(**wrong)


def plain(size):
    return Geometry(original=size, canvas=size)


@pytest.mark.parametrize("size", [(32, 48), (31, 45), (1, 1)])
def test_on_the_canvas_it_is_bilinear_interpolation(size):
    torch.manual_seed(0)
    scores = torch.randn(5, 8, 12)
    expected = F.interpolate(scores[None], size=size, mode="bilinear", align_corners=False)[0].argmax(0)
    found = class_map(scores, plain(size))
    assert found.dtype == torch.uint8 and found.shape == size
    assert (found == expected).float().mean() > 0.999  # two scores may be equal but for rounding


def test_strips_change_nothing(monkeypatch):
    torch.manual_seed(0)
    scores = torch.randn(3, 8, 12)
    whole = class_map(scores, plain((32, 48)))
    monkeypatch.setitem(semantic_inference.STRIP, "cpu", 3 * 48 * 5)
    assert torch.equal(class_map(scores, plain((32, 48))), whole)


@pytest.mark.parametrize("original", [(100, 200), (37, 20), (500, 300)])
def test_a_letterboxed_image_comes_back_to_its_place(original):
    """Scores that know the canvas position: class 1 right of the middle of the image, wherever that is."""
    geometry = Preprocess(size=(64, 64)).place(*original).geometry
    width = original[1] * geometry.scale[1]
    position = (torch.arange(16) + 0.5) * 4 - width / 2
    scores = torch.stack([-position, position])[:, None].expand(2, 16, 16)
    found = class_map(scores, geometry)
    assert found.shape == original
    middle = original[1] // 2
    assert (found[:, : middle - 1] == 0).all() and (found[:, middle + 1 :] == 1).all()


def test_what_was_cropped_away_is_unknown():
    geometry = Preprocess(size=(32, 32), resize="center_crop").place(32, 64).geometry
    found = class_map(torch.zeros(2, 8, 8), geometry)
    assert (found[:, 16:48] == 0).all() and (found[:, :16] == 255).all() and (found[:, 48:] == 255).all()


def test_half_precision_is_enough():
    scores = torch.randn(3, 4, 4).bfloat16()
    assert torch.equal(class_map(scores, plain((16, 16))), class_map(scores.float(), plain((16, 16))))
