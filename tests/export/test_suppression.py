"""The suppression of exported graphs against the post-processing that PyTorch's models go through."""

import pytest
import torch

from effdet.export.onnx_graph import nms_by_class, onnx_nms
from effdet.export.suppression import Suppression, torch_nms
from heads.detection import PostProcess
from heads.detection.postprocess import postprocess_boxes
from heads.structures import UserError

NAMED = (True, False, True, True, True)


def outputs(batch: int = 2, anchors: int = 300, *, shift: float = -3.0, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn((batch, anchors, len(NAMED)), generator=generator) * 2 + shift
    corner = torch.rand((batch, anchors, 2), generator=generator) * 60 - 5
    size = torch.rand((batch, anchors, 2), generator=generator) * 30
    return logits, torch.cat([corner, corner + size], dim=-1)


@pytest.mark.parametrize("nms", [torch_nms, onnx_nms])
@pytest.mark.parametrize("any_size", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        PostProcess(),
        PostProcess(score_threshold=0.3, max_detections=7),
        PostProcess(pre_nms=50),
        PostProcess(per_class_nms=False),
        PostProcess(multi_label=False, nms_iou=0.3),
        PostProcess(score_threshold=0.9999),
    ],
    ids=["default", "few", "capped", "one class", "one label", "nothing found"],
)
def test_equals_the_post_processing_of_models(settings, nms, any_size):
    logits, boxes = outputs()
    expected = postprocess_boxes(logits, boxes, settings, named=torch.tensor(NAMED))
    if any_size and settings.pre_nms > logits[0].numel():
        settings = PostProcess(**{**vars(settings), "pre_nms": logits[0].numel()})
    found = Suppression(settings, NAMED, nms, any_size=any_size)(logits, boxes)
    longest = expected.boxes.shape[1]
    assert (found[3] == expected.counts).all()
    for own, requested, filler in zip(
        found[:3], (expected.boxes, expected.scores, expected.labels), (0, 0, -1), strict=True
    ):
        torch.testing.assert_close(own[:, :longest], requested)
        assert (own[:, longest:] == filler).all()


def test_one_image_alone_is_one_of_a_batch():
    logits, boxes = outputs(3)
    suppression = Suppression(PostProcess(), NAMED, torch_nms, any_size=False)
    together = suppression(logits, boxes)
    for index in range(3):
        alone = suppression(logits[index : index + 1], boxes[index : index + 1])
        for own, batched in zip(alone, together, strict=True):
            assert torch.equal(own[0], batched[index])


def test_far_boxes_do_not_change_near_ones():
    """A class shifted by float32 offsets would lose the last digits of its boxes where one box is huge."""
    logits, boxes = outputs(1)
    wild = boxes.clone()
    wild[:, -1] = torch.tensor([-3e6, -3e6, 3e6, 3e6])
    logits[:, -1] = -20.0
    suppression = Suppression(PostProcess(), NAMED, torch_nms, any_size=False)
    for own, other in zip(suppression(logits, boxes), suppression(logits, wild), strict=True):
        assert torch.equal(own, other)


def test_soft_nms_is_refused():
    with pytest.raises(UserError, match="soft_nms"):
        Suppression(PostProcess(soft_nms=True), NAMED, torch_nms, any_size=False)


def test_the_operator_keeps_by_hand():
    boxes = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]]])
    scores = torch.tensor([[[0.9, 0.8, 0.0], [0.0, 0.7, 0.6]]])  # two classes
    assert nms_by_class(boxes, scores, 100, 0.5, 0.0).tolist() == [[0, 0, 0], [0, 1, 1], [0, 1, 2]]
    assert nms_by_class(boxes, scores, 1, 0.95, 0.0).tolist() == [[0, 0, 0], [0, 1, 1]]
