"""Heat over an image."""

import numpy as np
import pytest

from effdet.drawing.heat import STOPS, with_heat
from heads.structures import UserError


def test_hot_is_light_and_cold_is_the_darkened_image():
    image = np.full((2, 3, 3), 100, np.uint8)
    heat = np.array([[0, 0.5, 1], [-1, 2, np.nan]])
    drawn = np.asarray(with_heat(image, heat, alpha=1.0)).astype(int)
    assert drawn[0, 2].tolist() == STOPS[-1].astype(int).tolist()  # all covered where it is hottest
    assert drawn[0, 0].tolist() == [65, 65, 66]  # 35 % of the coldest colour
    assert (
        (drawn[1, 0] == drawn[0, 0]).all() and (drawn[1, 1] == drawn[0, 2]).all() and (drawn[1, 2] == drawn[0, 0]).all()
    )


def test_alpha_zero_leaves_the_image_and_sizes_must_agree():
    image = np.random.default_rng(0).integers(0, 255, (4, 5, 3), dtype=np.uint8)
    assert (np.asarray(with_heat(image, np.ones((4, 5)), alpha=0)) == image).all()
    with pytest.raises(UserError, match=r"\(5, 4\) and the image \(4, 5\)"):
        with_heat(image, np.ones((5, 4)))
