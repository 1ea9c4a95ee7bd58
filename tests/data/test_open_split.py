"""Held-out images stay where they are."""

import numpy as np
import pytest

from effdet.data import DataError, DataSpec, open_dataset
from effdet.data.open import held_out

NAMES = [f"folder/{index:05}.jpg" for index in range(2000)]


def test_share_is_about_the_fraction():
    assert held_out(NAMES, 0.1).mean() == pytest.approx(0.1, abs=0.02)


def test_adding_images_moves_none():
    some = NAMES[::3]
    both = held_out(NAMES, 0.2)
    assert (held_out(some, 0.2) == both[::3]).all()
    assert (held_out(reversed(NAMES), 0.2)[::-1] == both).all()


def test_a_larger_fraction_only_adds():
    assert not (held_out(NAMES, 0.1) & ~held_out(NAMES, 0.3)).any()


def test_known_value():
    # sha256("a.jpg") is worked out with coreutils' sha256sum.
    share = 0
    for digit in reversed(SHA256_OF_A[:16]):
        share = (share + int(digit, 16)) / 16
    assert held_out(["a.jpg"], share * 1.0001)[0]
    assert not held_out(["a.jpg"], share * 0.9999)[0]
    assert (held_out([".\\a.jpg".replace(".\\", "./")], 0.999) == held_out(["a.jpg"], 0.999)).all()


SHA256_OF_A = "509b0d4641a7c3ba088ffa28559d1f57207ea980447bc1773b1d406d788386ee"


def test_train_and_val_share_nothing_and_lose_nothing(coco_set):
    root = coco_set(20)
    parts = {
        split: {
            record.image_id
            for record in open_dataset(DataSpec("coco", root=root, split=split, val_fraction=0.3)).records
        }
        for split in ("train", "val")
    }
    assert not parts["train"] & parts["val"]
    assert len(parts["train"] | parts["val"]) == 20
    assert parts["val"]


def test_a_side_without_images_is_an_error(coco_set):
    root = coco_set(2)
    with pytest.raises(DataError, match=r"val_fraction=0.001 of 2 train images leaves val without any: raise it"):
        open_dataset(DataSpec("coco", root=root, split="val", val_fraction=0.001))
    with pytest.raises(DataError, match=r"leaves train without any: lower it"):
        open_dataset(DataSpec("coco", root=root, val_fraction=0.999))


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5])
def test_fraction_out_of_range(fraction):
    with pytest.raises(DataError, match=f"data.val_fraction={fraction}"):
        DataSpec("coco", val_fraction=fraction)


def test_no_names():
    assert held_out([], 0.5).dtype == np.bool_
