"""Anchors by hand, and by a formula of their own."""

import math

import pytest
import torch

from heads.detection.anchors import AnchorSpec, anchors
from heads.structures import UserError


def test_first_cell_by_hand():
    # 64 x 64 over 8 x 8 cells: stride 8, so the smallest square anchor is 4 * 8 = 32 wide and its centre is (4, 4).
    found = anchors([(8, 8)], (64, 64), AnchorSpec())
    assert found.shape == (8 * 8 * 9, 4)
    assert found[0].tolist() == [4 - 16, 4 - 16, 4 + 16, 4 + 16]
    torch.testing.assert_close(found[1], torch.tensor([4 - 22.4, 4 - 11.2, 4 + 22.4, 4 + 11.2]))  # aspect (1.4, 0.7)
    torch.testing.assert_close(found[2], torch.tensor([4 - 11.2, 4 - 22.4, 4 + 11.2, 4 + 22.4]))
    half = 16 * 2 ** (1 / 3)  # the second octave follows all aspects of the first
    torch.testing.assert_close(found[3], torch.tensor([4 - half, 4 - half, 4 + half, 4 + half]))
    assert found[9].tolist() == [12 - 16, 4 - 16, 12 + 16, 4 + 16]  # the next cell of the row
    assert found[8 * 9].tolist() == [4 - 16, 12 - 16, 4 + 16, 12 + 16]  # the next row


def test_counts_of_the_paper():
    levels = [(64, 64), (32, 32), (16, 16), (8, 8), (4, 4)]
    assert len(anchors(levels, (512, 512), AnchorSpec())) == 49_104


def test_level_follows_level():
    both = anchors([(4, 6), (2, 3)], (32, 48), AnchorSpec())
    torch.testing.assert_close(both[: 24 * 9], anchors([(4, 6)], (32, 48), AnchorSpec()))
    torch.testing.assert_close(both[24 * 9 :], anchors([(2, 3)], (32, 48), AnchorSpec()))


def test_stride_is_a_fraction_where_the_image_is_no_multiple():
    # 300 x 420 at P7: 3 x 4 cells, so the strides are 100 and 105, not 128.
    found = anchors([(3, 4)], (300, 420), AnchorSpec(scale=1.0, scales_per_octave=1, aspects=(1.0,)))
    centres = (found[:, :2] + found[:, 2:]) / 2
    expected = [(52.5 + 105 * column, 50 + 100 * row) for row in range(3) for column in range(4)]
    torch.testing.assert_close(centres, torch.tensor(expected))
    torch.testing.assert_close(found[:, 2:] - found[:, :2], torch.tensor([105.0, 100.0]).expand(12, 2))


def test_bare_aspects_keep_the_area():
    found = anchors([(1, 1)], (8, 8), AnchorSpec(scales_per_octave=1, aspects=(1, 2, 0.5)))
    width, height = found[:, 2] - found[:, 0], found[:, 3] - found[:, 1]
    torch.testing.assert_close(width, 32 * torch.tensor([1, math.sqrt(2), math.sqrt(0.5)]))
    torch.testing.assert_close(width * height, torch.full((3,), 32.0**2))


def test_scale_of_each_level():
    found = anchors([(2, 2), (1, 1)], (16, 16), AnchorSpec(scale=(3, 5), scales_per_octave=1, aspects=(1,)))
    assert (found[0, 2] - found[0, 0], found[-1, 2] - found[-1, 0]) == (3 * 8, 5 * 16)
    with pytest.raises(UserError, match="has 2 values for 1 levels"):
        anchors([(2, 2)], (16, 16), AnchorSpec(scale=(3, 5)))


def test_the_same_arguments_give_the_same_tensor_which_serves_training_after_validation():
    sizes, spec = [(3, 5)], AnchorSpec(scale=3.25)
    with torch.inference_mode():
        first = anchors(sizes, (24, 40), spec)
    assert anchors(sizes, (24, 40), spec) is first
    assert anchors(sizes, (24, 41), spec) is not first
    weight = torch.ones(4, requires_grad=True)
    (first * weight).sum().backward()


def test_a_spec_survives_lists():
    assert AnchorSpec(aspects=[[1, 1], [1.4, 0.7]], scale=[4, 4]) == AnchorSpec(  # type: ignore[arg-type]
        aspects=((1.0, 1.0), (1.4, 0.7)), scale=(4.0, 4.0)
    )


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"scale": 0.0}, "anchors.scale=0.0: must be float 0.1…100"),
        ({"scales_per_octave": 0}, "anchors.scales_per_octave=0: must be int 1…8"),
        ({"aspects": ()}, "anchor aspects must be numbers above 0"),
    ],
)
def test_bad_shapes(values, text):
    with pytest.raises(UserError, match=text):
        AnchorSpec(**values)
