"""Videos: instance ids that last, things that move smoothly."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from effdet.streets import video


def test_ids_last_and_boxes_move_smoothly():
    frames = list(video(3, 8, 96, rate=10.0))
    assert len(frames) == 8
    identity: dict[int, int] = {}
    steps = []
    for before, after in pairwise(frames):
        places = dict(zip(before.instances.tolist(), before.boxes, strict=True))
        for number, who, box in zip(after.instances.tolist(), after.identities.tolist(), after.boxes, strict=True):
            assert identity.setdefault(number, who) == who
            if number in places:
                steps.append(np.abs(box - places[number]).max())
    assert len(identity) >= 1
    assert np.median(steps) < 5
    assert any(not np.array_equal(a.label_ids, b.label_ids) for a, b in pairwise(frames))


def test_a_video_is_a_function_of_its_arguments():
    first, second = (list(video(1, 2, 64, index=4)) for _ in range(2))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, second, strict=True))


def test_wrong_arguments():
    with pytest.raises(ValueError, match="frames=0 must be at least 1"):
        next(video(0, 0))
