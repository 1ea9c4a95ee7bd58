import numpy as np
import pytest
import torch

from effdet.evaluation.predict_fn import restore_detections
from effdet.preprocess import Preprocess
from heads.structures import Detections, Geometry
from tests.evaluation_fakes import restore_maps


def detections(boxes, scores, labels, counts):
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).reshape(len(counts), -1, 4),
        torch.tensor(scores, dtype=torch.float32).reshape(len(counts), -1),
        torch.tensor(labels).reshape(len(counts), -1),
        torch.tensor(counts),
        torch.tensor([True] * len(counts)),
    )


def test_equals_the_geometry_of_each_image():
    rng = np.random.default_rng(0)
    sizes = [(480, 640), (31, 400), (512, 512), (700, 3)]
    for rule in ("letterbox", "stretch", "center_crop"):
        preprocess = Preprocess((128, 256), resize=rule)
        geometries = [preprocess.place(*size).geometry for size in sizes]
        corners = np.sort(rng.uniform(-20, 280, (4, 5, 2, 2)).astype(np.float32), axis=2).reshape(4, 5, 4)
        found = restore_detections(
            detections(corners, np.ones((4, 5)), np.zeros((4, 5), int), [5, 5, 5, 3]), geometries
        )
        for row, geometry in enumerate(geometries):
            expected = geometry.to_original(corners[row][: 3 if row == 3 else 5])
            expected = expected[(expected[:, 2:] > expected[:, :2]).all(1)]
            np.testing.assert_allclose(found.image(row)[0].numpy(), expected, atol=1e-3)


def test_boxes_in_the_padding_are_dropped_and_order_stays():
    geometry = Geometry(original=(10, 20), canvas=(40, 40), scale=(2.0, 2.0))  # the image is the upper half
    found = restore_detections(
        detections([[0, 30, 10, 40], [2, 2, 6, 60], [0, 0, 0, 0]], [0.9, 0.8, 0.0], [3, 1, -1], [2]), [geometry]
    )
    assert found.counts.tolist() == [1]
    assert found.boxes.tolist() == [[[1, 1, 3, 10], [0, 0, 0, 0], [0, 0, 0, 0]]]
    assert found.scores.tolist() == [[pytest.approx(0.8), 0, 0]]
    assert found.labels.tolist() == [[1, -1, -1]]
    assert found.capped is not None and found.capped.tolist() == [True]


def test_no_detections():
    geometry = Geometry((10, 20), (40, 40))
    found = restore_detections(
        detections(np.zeros((2, 0, 4)), np.zeros((2, 0)), np.zeros((2, 0), int), [0, 0]), [geometry] * 2
    )
    assert found.boxes.shape == (2, 0, 4) and found.counts.tolist() == [0, 0]


@pytest.mark.parametrize("size", [(20, 30), (160, 70), (64, 64)])
@pytest.mark.parametrize("rule", ["letterbox", "stretch"])
def test_scores_and_classes_come_back_to_where_they_were(rule, size):
    """An image of two halves, laid on the canvas and brought back, both as classes and as quarter-size scores."""
    preprocess = Preprocess((64, 64), resize=rule)
    truth = np.zeros(size, np.uint8)
    truth[:, size[1] // 2 :] = 1
    geometry = preprocess.place(*size).geometry
    laid = preprocess.geometry_mask(truth, ignore=2).copy()
    (back,) = restore_maps(torch.from_numpy(laid)[None].long(), [geometry])
    assert back.dtype == np.uint8 and back.shape == size
    assert (back == truth).mean() > 0.94

    onehot = torch.nn.functional.one_hot(torch.from_numpy(laid).long(), 3).permute(2, 0, 1).float()
    scores = torch.nn.functional.avg_pool2d(onehot[None], 4)
    (smooth,) = restore_maps(scores, [geometry])
    assert smooth.shape == size and (smooth == truth).mean() > 0.9


def test_scores_are_sampled_like_interpolate():
    """With a canvas that is the image, the result is torch's own bilinear upsampling, strip by strip."""
    torch.manual_seed(0)
    scores = torch.randn(1, 5, 150, 20)
    (found,) = restore_maps(scores, [Geometry((600, 80), (600, 80))])
    expected = torch.nn.functional.interpolate(scores, size=(600, 80), mode="bilinear", align_corners=False)[0].argmax(
        0
    )
    assert (torch.from_numpy(found) == expected).float().mean() > 0.999
