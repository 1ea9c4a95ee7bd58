"""Raw outputs of any structure through the tensors of an exported graph."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from effdet.tasks import Kit
from effdet.tasks.kit import raw_tensors
from heads.structures import UserError

A, B, C = torch.zeros(1), torch.ones(2), torch.full((3,), 2)


@dataclass
class Output:
    heat: Tensor
    sizes: tuple[Tensor, Tensor]


@pytest.mark.parametrize(
    ("output", "names"),
    [
        (A, ["depth"]),
        ((A, B), ["depth.0", "depth.1"]),
        ({"near": A, "far": (B, C)}, ["depth.near", "depth.far.0", "depth.far.1"]),
        ({"near": {"left": A, "right": B}, "far": C}, ["depth.near.left", "depth.near.right", "depth.far"]),
    ],
)
def test_round_trip(output, names):
    tensors = raw_tensors("depth", output)
    assert list(tensors) == names
    kit, others = Kit("depth"), {"depths": C, "boxes": A}
    assert kit.from_graph({**others, **tensors}, nms=False) == output
    assert [value.dtype for value in kit.to_graph(output, None)] == [value.dtype for value in tensors.values()]


def test_a_dataclass_comes_back_as_a_dictionary():
    assert Kit("depth").from_graph(raw_tensors("depth", Output(A, (B, C))), nms=True) == {"heat": A, "sizes": (B, C)}


def test_half_precision_leaves_as_float32():
    (value,) = Kit("depth").to_graph(A.half(), None)
    assert value.dtype == torch.float32


def test_what_is_no_tensor_is_named():
    with pytest.raises(UserError, match="head.depth.far: a str in its output has no place in an exported file"):
        raw_tensors("depth", {"near": A, "far": "away"})
