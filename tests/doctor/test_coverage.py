"""Anchor coverage against brute force, and by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from effdet.doctor.coverage import (
    FITTED,
    FORCED,
    LOST,
    CoverageSettings,
    Matched,
    best_overlaps,
    match_boxes,
    with_size,
)
from effdet.preprocess import Preprocess
from heads.detection.anchors import AnchorSpec, anchors
from heads.detection.boxes import box_iou

SETTINGS = CoverageSettings(Preprocess((128, 192)))


def random_boxes(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, (180, 120), (count, 2))
    side = np.exp(rng.uniform(np.log(3), np.log(100), (count, 2)))
    return np.concatenate([corner, np.minimum(corner + side, (192, 128))], axis=1).astype(np.float32)


@pytest.mark.parametrize("spec", [AnchorSpec(), AnchorSpec(scale=3.0, scales_per_octave=2, aspects=(1.0, 2.0, 0.5))])
@pytest.mark.parametrize("size", [(128, 192), (100, 190)])  # a canvas that no level divides, too
def test_the_short_way_finds_the_best_of_all_anchors(spec: AnchorSpec, size: tuple[int, int]) -> None:
    settings = CoverageSettings(Preprocess(size), anchors=spec)
    boxes = np.clip(random_boxes(200), 0, np.array([size[1], size[0]] * 2, np.float32) - 1)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    grid = anchors(settings.cells, size, spec)
    every = box_iou(torch.from_numpy(boxes), grid).numpy()
    best, level = best_overlaps(boxes, settings)
    np.testing.assert_allclose(best, every.max(axis=1), atol=1e-5)
    ends = np.cumsum([rows * columns * spec.per_cell for rows, columns in settings.cells])
    expected = np.searchsorted(ends, every.argmax(axis=1), side="right")
    assert (level == expected).mean() > 0.98  # ties may fall on either level


def test_cells_are_those_of_the_network() -> None:
    """Each level has half the cells of the one before, rounded up."""
    assert CoverageSettings(Preprocess((512, 512))).cells == [(64, 64), (32, 32), (16, 16), (8, 8), (4, 4)]
    assert CoverageSettings(Preprocess((100, 190))).cells == [(13, 24), (7, 12), (4, 6), (2, 3), (1, 2)]


def test_one_box_by_hand() -> None:
    """A box that is an anchor: the square of 32 pixels round the centre (68, 60) of a cell of P3."""
    box = np.array([[52, 44, 84, 76]], np.float32)
    found = match_boxes(box, (128, 192), SETTINGS)
    assert found.state.tolist() == [FITTED]
    assert found.level.tolist() == [0]
    assert found.positives[0] > 1


def test_a_small_box_has_only_the_forced_anchor() -> None:
    found = match_boxes(np.array([[50, 50, 58, 58]], np.float32), (128, 192), SETTINGS)
    assert (found.state.tolist(), found.positives.tolist()) == ([FORCED], [1])


def test_of_two_equal_boxes_one_is_lost() -> None:
    box = [52, 44, 84, 76]
    found = match_boxes(np.array([box, box], np.float32), (128, 192), SETTINGS)
    assert sorted(found.state.tolist()) == [FITTED, LOST]
    assert sorted(found.level.tolist()) == [-1, 0]


def test_states_agree_with_the_overlaps_where_boxes_stand_alone() -> None:
    for box in random_boxes(60, seed=1):
        found = match_boxes(box[None], (128, 192), SETTINGS)
        best, _ = best_overlaps(box[None], SETTINGS)
        assert found.state[0] == (FITTED if best[0] >= 0.5 else FORCED)


def test_the_image_is_laid_on_the_canvas() -> None:
    """An image twice as large, with boxes twice as large, is the same."""
    boxes = random_boxes(20)
    once, twice = match_boxes(boxes, (128, 192), SETTINGS), match_boxes(boxes * 2, (256, 384), SETTINGS)
    np.testing.assert_array_equal(once.state, twice.state)
    np.testing.assert_array_equal(once.level, twice.level)


def test_no_boxes() -> None:
    assert len(match_boxes(np.zeros((0, 4), np.float32), (128, 192), SETTINGS).state) == 0
    assert len(Matched.joined([]).state) == 0


def test_other_matchers() -> None:
    boxes = np.array([[52, 44, 84, 76], [13, 13, 15, 15]], np.float32)
    atss = match_boxes(boxes, (128, 192), replace(SETTINGS, matcher="atss"))
    assert atss.state[0] == FITTED
    tal = match_boxes(boxes, (128, 192), replace(SETTINGS, matcher="tal"))
    # Cell centres of P3 lie at 4, 12, 20, …: 9 of them inside the first box (not on its edge), none in the second.
    assert tal.state.tolist() == [FITTED, LOST]
    assert tal.positives.tolist() == [9 * 9, 0]
    enlarged = match_boxes(boxes, (128, 192), replace(SETTINGS, matcher="atss_tal", smallest=14.1))
    assert enlarged.state.tolist() == [FITTED, FITTED] and enlarged.positives.tolist() == [9 * 9, 4 * 9]


def test_larger_inputs_come_in_steps() -> None:
    settings = CoverageSettings(Preprocess((512, 512)))
    assert with_size(settings, 1.5).preprocess.size == (768, 768)
    assert with_size(CoverageSettings(Preprocess((64, 96))), 2.0).preprocess.size == (128, 192)
