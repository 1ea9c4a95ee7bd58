"""Anchors as tensor operations, for graphs of any size, against the cached ones."""

import pytest
import torch

from heads.detection.anchors import AnchorSpec, _traced, anchors


@pytest.mark.parametrize("image", [(64, 96), (65, 191), (33, 512)])
@pytest.mark.parametrize(
    "spec", [AnchorSpec(), AnchorSpec(scale=(4.0, 3.0, 5.0), scales_per_octave=2, aspects=(1.0, 2.0))]
)
def test_both_are_the_same_numbers(image, spec):
    sizes = tuple((-(-image[0] // stride), -(-image[1] // stride)) for stride in (8, 16, 32))
    torch.testing.assert_close(_traced(sizes, image, spec, "cpu"), anchors(sizes, image, spec), rtol=1e-6, atol=1e-5)
