"""The contract of heads: every one of ours keeps it, and heads run after those that they read."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from effdet.model import VisionModel, build, spec_for
from heads.protocol import Assigns, Context, Counts, Foldable, Head, Labelled, run_order
from heads.structures import Targets, UserError

TASKS = {"driving": ("detection", "semantic"), "classification": ("classification",), "embedding": ("embedding",)}


@pytest.mark.parametrize("task", TASKS)
def test_every_head_of_ours_is_one(task):
    model = build(spec_for(task=task, backbone="b0", num_classes=3, image_size=64))
    assert tuple(model.heads) == TASKS[task]
    for head in model.heads.values():
        assert isinstance(head, Head) and isinstance(head, Counts) and isinstance(head, Labelled)
    assert [name for name, head in model.heads.items() if isinstance(head, Foldable)] == [
        name for name in TASKS[task] if name == "detection"
    ]


class Reader(nn.Module):
    """Keeps what it is shown."""

    in_levels = ("C5",)

    def __init__(self, *in_heads: str) -> None:
        super().__init__()
        self.in_heads = in_heads
        self.seen: dict[str, Context] = {}

    def forward(self, features, context):
        self.seen["forward"] = context
        return features["C5"].mean((1, 2, 3))

    def loss(self, output, targets, context):
        self.seen["loss"] = context
        return {"own": output.sum() * 0.0}

    def predict(self, output, context):
        self.seen["predict"] = context
        return output


class Assigner(Reader):
    def assign(self, output, targets, context):
        return output.argmax()


def model_of(**heads: nn.Module) -> VisionModel:
    """The heads on a real backbone."""
    classifier = build(spec_for(task="classification", backbone="b0", num_classes=3, image_size=32))
    spec = classifier.spec
    spec = spec.replace(
        heads=dict.fromkeys(heads, spec.heads["classification"]),
        classes=dict.fromkeys(heads, spec.classes["classification"]),
    )
    return VisionModel(spec, classifier.backbone, None, heads).eval()


def test_a_head_sees_outputs_and_assignments_of_those_that_it_reads():
    first, second, third = Reader("b", "c"), Assigner(), Reader()
    model = model_of(a=first, b=second, c=third)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        outputs = model(images, 0.25)
    context = Context.of(images, 0.25)
    model.loss(outputs, Targets(), context)
    found = model.predict({"b": outputs["b"], "a": outputs["a"]}, Context((32, 32), outputs=outputs))
    assert list(outputs) == ["a", "b", "c"] and set(found) == {"a", "b"}
    for name in ("forward", "loss", "predict"):
        assert set(first.seen[name].outputs) == {"b", "c"} and first.seen[name].image_size == (32, 32)
    assert first.seen["forward"].images is images and first.seen["loss"].progress == 0.25
    assert first.seen["loss"].assignments == {"b": outputs["b"].argmax()} and first.seen["loss"].assignment is None
    assert second.seen["loss"].assignment == outputs["b"].argmax() and not second.seen["loss"].outputs
    assert isinstance(second, Assigns) and third.seen["loss"] is context


def test_order():
    heads = {"a": Reader("c"), "b": Reader(), "c": Reader("b"), "d": Reader()}
    assert run_order(heads) == ("b", "c", "a", "d")
    assert run_order({"a": Reader(), "b": Reader("a")}) == ("a", "b")


@pytest.mark.parametrize(
    ("heads", "text"),
    [
        ({"a": Reader("b"), "b": Reader("a"), "c": Reader()}, "heads a, b read each other's outputs in a circle"),
        ({"a": Reader("a")}, "heads a read each other"),
        ({"a": Reader("boxes")}, "head 'a' reads head 'boxes'; the model has a"),
        ({"a": nn.Identity()}, r"head 'a' \(Identity\) lacks in_levels, in_heads, loss, predict"),
    ],
)
def test_heads_that_cannot_run(heads, text):
    with pytest.raises(UserError, match=text) as caught:
        run_order(heads)
    assert "\n" not in str(caught.value)
