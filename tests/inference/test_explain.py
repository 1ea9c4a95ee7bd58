"""Grad-CAM by hand, on each head, folded and frozen; fusion weights by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from effdet.inference.explain import explain, features_of, grad_cam
from effdet.inference.fusion import fusion_page, fusion_shares
from effdet.model import build, fold, spec_for
from heads.protocol import Context
from heads.structures import UserError


def image(height: int = 48, width: int = 80) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def model_of(task: str, **options):
    torch.manual_seed(0)
    size = {"phi": -4} if task != "classification" else {"backbone": "lite0"}
    return build(spec_for(task=task, num_classes=3, image_size=64, **size, **options)).eval()


def test_grad_cam_by_hand():
    """y = 2 * sum(A0) - sum(A1) + 4 * A2[0, 0]: alpha = 2, -1, 4 / 4 cells."""
    features = torch.tensor([[[[1.0, 0.0], [3.0, 0.0]], [[0.0, 5.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 5.0]]]])
    features.requires_grad_()
    number = 2 * features[0, 0].sum() - features[0, 1].sum() + 4 * features[0, 2, 0, 0]
    # sum: [[2, -5], [5, 5]] -> relu, over 5
    assert grad_cam(number, features).tolist() == [[[pytest.approx(0.4), 0], [1, 1]]]


def test_hires_cam_by_hand():
    """The gradient of the third map is 4 only in its first cell, where the map itself is 0."""
    features = torch.tensor([[[[1.0, 0.0], [3.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 5.0]]]])
    features.requires_grad_()
    number = 2 * features[0, 0].sum() - features[0, 1].sum() + 4 * features[0, 2, 0, 0]
    # [[2, 0], [6 - 1, 0]] over 5
    assert grad_cam(number, features, method="hires").tolist() == [[[pytest.approx(0.4), 0], [1, 0]]]


def test_nothing_speaks_for_it():
    features = torch.ones(1, 2, 3, 3, requires_grad=True)
    assert (grad_cam(-features.sum(), features) == 0).all()
    with pytest.raises(UserError, match="no part in what is explained"):
        grad_cam(torch.ones(1, requires_grad=True).sum(), features)


def test_a_classifier_by_differences():
    """alpha by central differences in float64: one step on all cells of a channel at once is the sum of their gradients."""
    model = model_of("classification").double()
    model.heads["classification"].classifier.weight.data.normal_()  # a fresh one gives all classes the same logit
    images = torch.from_numpy(image(64, 96)).permute(2, 0, 1)[None].double() / 255
    with features_of(model) as features:
        outputs = model(images.requires_grad_())
        label = int(outputs["classification"].argmax())
        found = grad_cam(outputs["classification"][0, label], features["C5"])[0]
    with torch.no_grad():
        c5, head, step = features["C5"].detach(), model.heads["classification"], 1e-4

        def logit(x: torch.Tensor) -> torch.Tensor:
            return head({"C5": x}, Context((64, 96)))[0, label]

        alpha = torch.zeros(c5.shape[1], dtype=torch.float64)
        for channel in range(c5.shape[1]):
            moved = torch.zeros_like(c5)
            moved[0, channel] = step
            alpha[channel] = (logit(c5 + moved) - logit(c5 - moved)) / (2 * step) / c5[0, 0].numel()
        heat = torch.relu((alpha[:, None, None] * c5[0]).sum(0))
    assert heat.max() > 0
    torch.testing.assert_close(found, (heat / heat.max()).float(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("task", ["detection", "segmentation", "driving"])
def test_every_head_is_explained_in_the_images_own_size(task):
    model = model_of(task)
    found = explain(model, image(), most=2, score_threshold=0.0)
    assert {seen.head for seen in found} == set(model.heads)
    for seen in found:
        assert seen.heat.shape == (48, 80) and seen.heat.dtype == np.float32
        assert seen.heat.min() >= 0 and seen.heat.max() <= 1
        assert seen.draw().size == (80, 48)
        assert (seen.box is not None) == (seen.head == "detection")


def test_a_box_is_explained_by_the_level_and_anchor_that_found_it():
    model = model_of("detection")
    found = explain(model, image(), most=3, score_threshold=0.0)
    canvas, geometry = model.preprocess.geometry(image())
    images = model.preprocess.normalise(torch.from_numpy(canvas).permute(2, 0, 1)[None])
    with torch.no_grad():
        outputs = model(images)
        boxes, scores, _ = model.predict(outputs, Context.of(images))["detection"].image(0)
    for seen, box, score in zip(found, boxes, scores, strict=False):
        assert seen.score == pytest.approx(float(score), abs=1e-6)
        assert seen.box == pytest.approx(geometry.to_original(box[None].numpy())[0], abs=1e-3)
        assert seen.layer in model.heads["detection"].in_levels


def test_frozen_and_folded_models_look_at_the_same():
    model = model_of("detection")
    plain = explain(model, image(), most=1, score_threshold=0.0, layer="C4")[0]
    folded = explain(fold(model), image(), most=1, score_threshold=0.0, layer="C4")[0]
    assert folded.heat == pytest.approx(plain.heat, abs=2e-3)
    assert all(parameter.grad is None for parameter in model.parameters())
    model.requires_grad_(False)
    assert explain(model, image(), most=1, score_threshold=0.0, layer="C4")[0].heat == pytest.approx(
        plain.heat, abs=1e-6
    )


def test_the_model_is_left_as_it_was():
    model = model_of("segmentation").train()
    explain(model, image(), most=1)
    assert model.training
    with features_of(model) as features:
        assert not features
    assert not model.backbone._forward_hooks and not model.neck._forward_hooks


def test_misuse():
    model = model_of("detection")
    with pytest.raises(UserError, match="head=semantic: this model has detection"):
        explain(model, image(), head="semantic")
    with pytest.raises(UserError, match="method=gradcam: must be one of grad, hires"):
        explain(model, image(), method="gradcam")
    with pytest.raises(UserError, match="layer=P9: this model has C1, C2"):
        explain(model, image(), layer="P9", score_threshold=0.0)


def test_fusion_shares_by_hand():
    model = model_of("detection")
    node = model.neck.cells[0].out["P5"]
    with torch.no_grad():
        node.fuse.weights.copy_(torch.tensor([1.0, -2.0, 3.0]))
    shares = {(row.cell, row.path, row.level): dict(row.shares) for row in fusion_shares(model)}
    expected = {"in.P5": 1 / 4.0001, "td.P5": 0, "out.P4": 3 / 4.0001}
    assert shares[0, "out", "P5"] == pytest.approx(expected)
    assert shares[0, "td", "P6"] == pytest.approx({"in.P6": 0.5, "in.P7": 0.5}, abs=1e-4)
    assert len(shares) == 8 * len(model.neck.cells)
    assert fusion_shares(fold(model)) == fusion_shares(model)
    assert "0.75" in fusion_page(model).render()


def test_nothing_is_weighed():
    assert fusion_shares(model_of("classification")) == []
    with pytest.raises(UserError, match="no fusion weights"):
        fusion_page(model_of("classification"))
