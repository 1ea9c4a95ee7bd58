"""Weighing the losses of several heads."""

import math

import pytest
import torch

from effdet.model import BalanceSpec, LossBalance, build, spec_for
from heads.protocol import Context
from heads.structures import Targets, UserError

HEADS = ("detection", "semantic")


def terms(detection=(2.0, 3.0), semantic=4.0):
    return {
        "detection": {"class": torch.tensor(detection[0]), "box": torch.tensor(detection[1])},
        "semantic": {"cross_entropy": torch.tensor(semantic)},
    }


def test_without_weights_nothing_changes():
    found = LossBalance(BalanceSpec(), HEADS)(terms())
    assert {name: value.item() for name, value in found.items()} == {
        "detection/class": 2.0,
        "detection/box": 3.0,
        "semantic/cross_entropy": 4.0,
    }


def test_weights_multiply():
    found = LossBalance(BalanceSpec(weights={"semantic": 0.5}), HEADS)(terms())
    assert found["semantic/cross_entropy"].item() == 2.0 and found["detection/box"].item() == 3.0


def test_uncertainty_by_hand():
    balance = LossBalance(BalanceSpec("uncertainty"), HEADS)
    with torch.no_grad():
        balance.log_variance["semantic"].fill_(math.log(2))
    found = balance(terms())
    assert found["semantic/cross_entropy"].item() == pytest.approx(2.0)
    assert found["semantic/log_variance"].item() == pytest.approx(math.log(2) / 2)
    assert found["detection/box"].item() == 3.0 and found["detection/log_variance"].item() == 0


def test_uncertainty_is_learnt_until_the_variance_is_twice_the_loss():
    """d/ds [exp(-s) L + s / 2] = 0 at exp(s) = 2 L."""
    balance = LossBalance(BalanceSpec("uncertainty"), HEADS)
    for _ in range(200):
        balance.zero_grad()
        torch.stack(list(balance(terms()).values())).sum().backward()
        with torch.no_grad():
            for parameter in balance.parameters():
                parameter -= 0.2 * parameter.grad
    assert balance.log_variance["semantic"].exp().item() == pytest.approx(8.0, rel=0.02)
    assert balance.log_variance["detection"].exp().item() == pytest.approx(10.0, rel=0.02)


def test_a_task_without_labels_teaches_its_variance_nothing():
    balance = LossBalance(BalanceSpec("uncertainty"), HEADS)
    torch.stack(list(balance(terms(semantic=0.0)).values())).sum().backward()
    assert balance.log_variance["semantic"].grad.item() == 0
    assert balance.log_variance["detection"].grad.item() == pytest.approx(0.5 - 5.0)


def test_a_head_of_the_user_that_does_not_say_what_is_labelled():
    """Its loss says it: above 0, or not."""
    model = build(spec_for(task="driving", phi=-4, image_size=64, balance=BalanceSpec("uncertainty")))
    outputs = {"detection": model(torch.zeros(1, 3, 64, 64))["detection"], "semantic": torch.zeros(1)}
    model.heads["semantic"] = theirs = _Theirs()
    targets = Targets(boxes=torch.zeros(1, 0, 4), labels=torch.zeros(1, 0, dtype=torch.int64))
    for value, slope in ((0.0, 0.0), (2.0, 0.5 - 2.0)):
        theirs.value = value
        model.zero_grad()
        torch.stack(list(model.loss(outputs, targets, Context((64, 64))).values())).sum().backward(retain_graph=True)
        assert model.balance.log_variance["semantic"].grad.item() == pytest.approx(slope)
        assert model.balance.log_variance["detection"].grad.item() != 0


class _Theirs(torch.nn.Module):
    in_levels = ("P3",)
    in_heads = ()
    value = 0.0

    def loss(self, output, targets, context):
        return {"own": output.sum() * 0 + self.value}


def test_one_head_needs_no_balance():
    assert not list(LossBalance(BalanceSpec("uncertainty"), ("semantic",)).parameters())


@pytest.mark.parametrize(
    ("rule", "weights", "text"),
    [
        ("sum", {}, "rule=sum: must be weights | uncertainty"),
        ("weights", {"semantic": 0.0}, "balance.weights.semantic=0.0"),
        ("uncertainty", {"semantic": 2.0}, "learns the weights"),
    ],
)
def test_settings_are_checked(rule, weights, text):
    with pytest.raises(UserError, match=text):
        BalanceSpec(rule, weights)


def test_weights_of_other_heads_are_refused():
    with pytest.raises(UserError, match="names 'boxes'"):
        LossBalance(BalanceSpec(weights={"boxes": 2.0}), HEADS)
