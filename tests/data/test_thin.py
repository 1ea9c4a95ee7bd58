"""Images with a side of one pixel go through every change of colour and every preset."""

from __future__ import annotations

import numpy as np
import pytest

from effdet.data.augment import AugmentSpec
from effdet.data.transforms import AutoAugmentation, Photometric


@pytest.mark.parametrize("shape", [(1, 40, 3), (40, 1, 3), (1, 1, 3), (2, 1, 3), (3, 500, 3)])
@pytest.mark.parametrize("change", ["colour", "grayscale", "blur", "noise"])
def test_changes_of_colour_keep_the_shape(change: str, shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    changed = Photometric(AugmentSpec(**{change: 1.0}))(pixels, np.random.default_rng(1))
    assert changed.shape == shape and changed.dtype == np.uint8


@pytest.mark.parametrize("shape", [(1, 40, 3), (40, 1, 3), (1, 1, 3)])
@pytest.mark.parametrize("policy", ["randaugment", "autoaugment", "autoaugment_cifar10", "trivialaugment"])
def test_policies_keep_the_shape(policy: str, shape: tuple[int, int, int]) -> None:
    changes = AutoAugmentation.of(AugmentSpec(policy=policy), fill=(1, 2, 3))
    assert changes is not None
    rng = np.random.default_rng(0)
    for _ in range(20):
        pixels = rng.integers(0, 256, shape, np.uint8)
        assert changes(pixels, rng).shape == shape
