"""Parts of the drawing against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from effdet.streets.canvas import Camera, Canvas, Mark, capsule
from effdet.streets.items import Item, back_to_front
from effdet.streets.panels import Pose, clip_near, quad
from effdet.streets.weather import mirror_ground


def test_camera_projects_by_similar_triangles():
    camera = Camera(focal=1.0, horizon=0.5, height=1.5)
    points = camera.project(np.array([[2.0, 0.0, 10.0], [0.0, 1.5, 40.0], [-3.0, 3.0, 5.0]]))
    assert points == pytest.approx(np.array([[0.2, 0.65], [0.0, 0.5], [-0.6, 0.2]]))
    assert camera.ground_depth(np.array([0.65, 0.5]))[0] == pytest.approx(10.0)
    assert np.isinf(camera.ground_depth(np.array([0.5]))[0])
    assert camera.nearest_ground == pytest.approx(3.0)
    # A size falls as one over the depth.
    assert camera.size(1.7, 10.0) == pytest.approx(2 * camera.size(1.7, 20.0))


def test_pose_turns_about_the_vertical():
    ahead = np.array([[0.0, 1.0, 2.0]])
    assert Pose(1.0, 10.0).world(ahead) == pytest.approx(np.array([[1.0, 1.0, 12.0]]))
    assert Pose(1.0, 10.0, np.pi / 2).world(ahead) == pytest.approx(np.array([[3.0, 1.0, 10.0]]))
    assert Pose(0.0, 0.0, np.pi).rotated(np.array([[1.0, 0.0, 0.0]])) == pytest.approx(np.array([[-1.0, 0.0, 0.0]]))


def test_quad_looks_away_from_its_inside():
    corners = [(-1, 0, 2), (1, 0, 2), (1, 3, 2), (-1, 3, 2)]
    assert quad(corners, (0, 0, 0), (0, 1, 5)).normal == pytest.approx((0, 0, -1))
    assert quad(corners, (0, 0, 0), (0, 1, 0)).normal == pytest.approx((0, 0, 1))
    assert quad(corners, (0, 0, 0), (0, 1, 5)).outline == pytest.approx(np.array([[0, 0], [2, 0], [2, 3], [0, 3]]))


def test_clip_keeps_what_is_ahead():
    square = np.array([[0.0, 0, -1], [1, 0, -1], [1, 0, 3], [0, 0, 3]])
    clipped = clip_near(square, near=1.0)
    assert clipped[:, 2].min() == 1.0 and clipped[:, 2].max() == 3.0 and len(clipped) == 4
    assert len(clip_near(square - [0, 0, 9], near=1.0)) == 0


def test_capsule_is_as_wide_as_its_radii():
    outline = capsule(np.array([0.0, 0.0]), np.array([4.0, 0.0]), 1.0, 0.5)
    assert outline.min(0) == pytest.approx([-1.0, -1.0]) and outline.max(0) == pytest.approx([4.5, 1.0])


def test_image_grid_stamps_whole_pixels():
    canvas = Canvas(20, 40)
    # Image heights, u from the middle: columns 20…29 and rows 5…9.
    canvas.stamp([Mark(np.array([[0.025, 0.275], [0.475, 0.275], [0.475, 0.475], [0.025, 0.475]]), None)], 1234)
    rows, columns = np.nonzero(canvas.ids)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 9, 20, 29)
    assert set(np.unique(canvas.ids).tolist()) == {0, 1234}


def test_painter_draws_far_things_first_and_the_inner_one_last():
    far = Item((-1, 1, 30, 34), [])
    near = Item((-1, 1, 5, 9), [])
    inner, outer = Item((2, 4, 8, 20), []), Item((5, 6, 12, 13), [])
    order = back_to_front([near, inner, outer, far])
    assert order.index(far) < order.index(near)
    assert order.index(outer) < order.index(inner)  # the inner bus hides the walker beside it
    assert back_to_front([]) == []


def test_wet_ground_mirrors_about_the_foot():
    from types import SimpleNamespace

    image = np.zeros((40, 9, 3), np.float32)
    image[10:20] = 200.0  # a wall that stands on row 20
    label_ids = np.full((40, 9), 11, np.uint8)
    label_ids[20:] = 7
    light = SimpleNamespace(wet=1.0)
    mirrored = mirror_ground(image, label_ids, light, 0.5)  # type: ignore[arg-type]
    assert np.array_equal(mirrored[:20], image[:20])
    assert mirrored[24, 4, 0] > 60 and mirrored[36, 4, 0] < 10
