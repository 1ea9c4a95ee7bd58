"""The classification head: its arithmetic, its loss on every kind of target, bf16, a batch of one."""

from __future__ import annotations

import math

import pytest
import torch

from heads.classification import ClassificationHead
from heads.pooled import PooledOptions
from heads.protocol import Context
from heads.structures import Targets, UserError

HERE = Context((64, 96))


def head(classes: int = 5, **options) -> ClassificationHead:
    torch.manual_seed(0)
    return ClassificationHead(8, classes, PooledOptions(head_channels=16, **options))


def test_forward_is_convolution_average_dense():
    net, feature = head().eval(), torch.randn(2, 8, 3, 4)
    wide = torch.einsum("oc,bchw->bohw", net.conv_head.conv.weight[:, :, 0, 0], feature) / math.sqrt(1 + 1e-3)
    expected = (wide * wide.sigmoid()).mean((2, 3)) @ net.classifier.weight.T + net.classifier.bias
    torch.testing.assert_close(net({"C5": feature}, Context((96, 128))), expected)
    assert net.in_levels == ("C5",)


def test_loss_by_hand():
    net, logits = head(3), torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    loss = net.loss(logits, Targets(category=torch.tensor([0, 2])), HERE)["class"]
    first = -math.log(math.exp(2) / (math.exp(2) + 2))
    second = -math.log(1 / (math.e + 2))
    assert float(loss) == pytest.approx((first + second) / 2)
    # An unlabelled image adds nothing and is not counted.
    loss = net.loss(logits, Targets(category=torch.tensor([0, -1])), HERE)["class"]
    assert float(loss) == pytest.approx(first)


def test_mixed_targets_are_the_mix_of_losses():
    net, logits = head(3), torch.randn(1, 3)
    losses = [float(net.loss(logits, Targets(category=torch.tensor([label])), HERE)["class"]) for label in (0, 1)]
    mixed = net.loss(logits, Targets(category=torch.tensor([[0.3, 0.7, 0.0]])), HERE)["class"]
    assert float(mixed) == pytest.approx(0.3 * losses[0] + 0.7 * losses[1], rel=1e-5)


def test_label_smoothing_is_the_same_for_hard_and_soft_targets():
    net, logits = head(4, label_smoothing=0.1), torch.randn(2, 4)
    hard = net.loss(logits, Targets(category=torch.tensor([1, 3])), HERE)["class"]
    soft = net.loss(logits, Targets(category=torch.eye(4)[[1, 3]]), HERE)["class"]
    log = logits.log_softmax(1)
    expected = -(0.9 * log[[0, 1], [1, 3]] + 0.1 * log.mean(1)).mean()
    torch.testing.assert_close(hard, soft)
    torch.testing.assert_close(hard, expected)


@pytest.mark.parametrize("targets", [Targets(), Targets(category=torch.tensor([-1, -1]))])
def test_nothing_to_learn_is_zero_but_connected(targets):
    net = head()
    loss = net.loss(net({"C5": torch.randn(2, 8, 2, 2)}, Context((64, 64))), targets, HERE)["class"]
    loss.backward()
    assert loss.item() == 0.0 and net.classifier.weight.grad.eq(0).all()


def test_bf16_batch_of_one():
    net = head().eval().bfloat16()
    output = net({"C5": torch.randn(1, 8, 3, 5, dtype=torch.bfloat16)}, Context((96, 160)))
    assert output.shape == (1, 5)
    assert net.loss(output, Targets(category=torch.tensor([1])), HERE)["class"].dtype == torch.float32
    probabilities = net.predict(output, HERE)
    assert probabilities.dtype == torch.float32 and float(probabilities.sum()) == pytest.approx(1)


def test_bad_settings_are_refused():
    with pytest.raises(UserError, match="num_classes must be at least 1, got 0"):
        head(0)
    with pytest.raises(UserError, match="label_smoothing=1: must be float 0…<1"):
        head(label_smoothing=1)
