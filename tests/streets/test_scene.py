"""Images of `streets`: functions only of their key, the same scene at every size, truthful labels."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from effdet.streets import STUFF, THINGS, Scene, scene


def digest(drawn: Scene) -> str:
    parts = (drawn.image, drawn.label_ids, drawn.instance_ids, drawn.boxes, drawn.labels, drawn.occlusion)
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


def test_the_same_in_any_order():
    """That other processes draw the same is tested where the set is written (`test_write`)."""
    keys = [(0, "train", 3), (0, "val", 3), (7, "train", 3)]
    there = [digest(scene(*key, 96)) for key in keys[::-1]][::-1]
    here = [digest(scene(*key, 96)) for key in keys]
    assert here == there
    assert len(set(here)) == 3


@pytest.mark.parametrize("index", range(4))
def test_boxes_are_tight_around_the_visible_pixels(index: int):
    drawn = scene(0, "val", index, 128)
    assert drawn.image.shape == (128, 128, 3) and drawn.image.dtype == np.uint8
    assert drawn.label_ids.dtype == np.uint8 and drawn.instance_ids.dtype == np.uint16
    for box, label, number in zip(drawn.boxes, drawn.labels, drawn.instances, strict=True):
        rows, columns = np.nonzero(drawn.instance_ids == number)
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert number // 1000 == label and label in THINGS
    assert sorted(drawn.instances.tolist()) == [n for n in np.unique(drawn.instance_ids).tolist() if n >= 1000]


def test_label_maps_hold_official_ids_only_and_agree():
    met: set[int] = set()
    for index in range(8):
        drawn = scene(0, "train", index, 96)
        met |= set(np.unique(drawn.label_ids).tolist())
        whole = drawn.instance_ids.astype(int)
        assert np.array_equal(np.where(whole >= 1000, whole // 1000, whole), drawn.label_ids)
        # A thing's pixel always belongs to an instance: there are no crowds.
        assert not np.isin(whole[whole < 1000], list(THINGS)).any()
    assert met <= set(STUFF) | set(THINGS)
    assert {7, 8, 11, 17, 21, 23, 26} <= met


def test_an_image_without_the_grain_is_the_same_scene_at_twice_the_size():
    for index in range(5):
        small, large = scene(0, "train", index, 128), scene(0, "train", index, 256)
        assert (small.weather, small.time) == (large.weather, large.time)
        agree = small.label_ids == large.label_ids[::2, ::2]
        assert agree.mean() > 0.93
        boxes = dict(zip(large.instances.tolist(), large.boxes, strict=True))
        assert set(small.instances.tolist()) <= set(boxes)
        for number, box in zip(small.instances.tolist(), small.boxes, strict=True):
            assert np.abs(box * 2 - boxes[number]).max() <= 6  # a hidden sliver may be a pixel more or less


@pytest.mark.parametrize("size", [(96, 192), (192, 96), (64, 150)])
def test_not_square(size: tuple[int, int]):
    drawn = scene(0, "test", 1, size)
    assert drawn.image.shape == (*size, 3)
    assert drawn.label_ids.shape == drawn.instance_ids.shape == size
    if len(drawn.boxes):
        assert (
            (drawn.boxes.min(0) >= 0).all()
            and drawn.boxes[:, 2].max() <= size[1]
            and drawn.boxes[:, 3].max() <= size[0]
        )


def test_a_wide_image_shows_the_square_one_in_its_middle():
    square, wide = scene(0, "val", 5, 128), scene(0, "val", 5, (128, 256))
    assert (wide.label_ids[:, 64:192] == square.label_ids).mean() > 0.93


def test_identities_of_the_splits_do_not_meet():
    seen = {
        split: {int(i) for k in range(6) for i in scene(0, split, k, 64).identities}
        for split in ("train", "val", "test")
    }
    assert all(seen.values())
    assert not seen["train"] & seen["val"] and not seen["train"] & seen["test"] and not seen["val"] & seen["test"]


def test_occlusion_is_a_share_and_a_wrong_size_is_refused():
    drawn = scene(0, "train", 2, 96)
    assert (drawn.occlusion >= 0).all() and (drawn.occlusion < 1).all()
    with pytest.raises(ValueError, match=r"size=16 must lie within 32…8192"):
        scene(0, "train", 0, 16)
