"""The embedding head against angles worked out one by one."""

from __future__ import annotations

import math

import pytest
import torch

from heads.embedding import EmbeddingHead, EmbeddingOptions, with_margin
from heads.protocol import Context
from heads.structures import Targets, UserError

HERE = Context((64, 96))


def head(**options) -> EmbeddingHead:
    torch.manual_seed(0)
    return EmbeddingHead(6, 4, EmbeddingOptions(**({"head_channels": 8, "dim": 5} | options)))


def features(batch: int = 3, size: tuple[int, int] = (2, 3)) -> dict[str, torch.Tensor]:
    return {"C5": torch.randn(batch, 6, *size, generator=torch.Generator().manual_seed(1))}


def test_the_margin_is_added_to_the_angle():
    angles = torch.tensor([[0.3, 1.0, 2.0], [0.5, 1.2, 2.9], [1.5, 0.1, 1.0]], dtype=torch.float64)
    moved = with_margin(angles.cos(), torch.tensor([1, 2, -1]), 0.4)
    expected = angles.cos()
    expected[0, 1] = math.cos(1.4)
    expected[1, 2] = math.cos(2.9) - 0.4 * math.sin(0.4)  # beyond π - m
    assert torch.allclose(moved, expected)


def test_the_margin_never_makes_it_easier():
    cosines = torch.linspace(-1, 1, 201)[:, None]
    moved = with_margin(cosines, torch.zeros(201, dtype=torch.long), 0.5)
    assert (moved < cosines + 1e-6).all()
    assert (moved.diff(dim=0) > -1e-4).all()  # and orders the angles as before


@pytest.mark.parametrize("loss", ["arcface", "cosine"])
def test_loss_by_hand(loss):
    model = head(loss=loss, margin=0.3, scale=10.0).eval()
    output = model(features(), Context((64, 96)))
    category = torch.tensor([2, -1, 0])
    total = 0.0
    for row in (0, 2):
        e = output[row] / output[row].norm()
        angles = [math.acos(float(e @ w / w.norm())) for w in model.prototypes.weight]
        if loss == "arcface":
            angles[int(category[row])] += 0.3
        logits = [10.0 * math.cos(angle) for angle in angles]
        total += math.log(sum(map(math.exp, logits))) - logits[int(category[row])]
    assert model.loss(output, Targets(category=category), HERE)["class"].item() == pytest.approx(total / 2, rel=1e-4)


def test_embeddings_have_length_one_and_images_do_not_mix():
    model = head().eval()
    found = model.predict(model(features(), Context((64, 96))), HERE)
    assert found.shape == (3, 5) and torch.allclose(found.norm(dim=1), torch.ones(3))
    single = model.predict(model({"C5": features()["C5"][1:2]}, Context((64, 96))), HERE)
    assert torch.allclose(single[0], found[1], atol=1e-6)


def test_no_labels_is_zero_but_connected():
    model = head()
    output = model(features(), Context((64, 96)))
    for targets in (Targets(), Targets(category=torch.full((3,), -1))):
        loss = model.loss(output, targets, HERE)["class"]
        assert loss.item() == 0 and loss.requires_grad


def test_bf16_keeps_the_loss_in_float32_and_gradients_finite():
    model = head()
    with torch.autocast("cpu", torch.bfloat16):
        output = model(features(2, (1, 2)), Context((32, 64)))
        loss = model.loss(output, Targets(category=torch.tensor([0, 3])), HERE)["class"]
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_an_image_on_its_prototype_has_a_finite_gradient():
    cosine = torch.ones(1, 1, requires_grad=True)
    with_margin(cosine, torch.zeros(1, dtype=torch.long), 0.5).sum().backward()
    assert torch.isfinite(cosine.grad).all()


def test_what_cannot_be_is_refused():
    for options in ({"loss": "softmax"}, {"margin": 2.0}, {"scale": 0.0}, {"dim": 0}):
        with pytest.raises(UserError):
            head(**options)
    model = head()
    with pytest.raises(UserError, match="mixup"):
        model.loss(model(features(), Context((64, 96))), Targets(category=torch.eye(4)[:3]), HERE)
