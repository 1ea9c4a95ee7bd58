"""The boxes of an exported graph, against the head's own decoding."""

import pytest
import torch

from effdet.tasks.detection import decode_by_products
from heads.detection.anchors import AnchorSpec, anchors
from heads.detection.boxes import decode

GRID = anchors([(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)], (128, 192), AnchorSpec())


@pytest.mark.parametrize("batch", [1, 3])
def test_equal_to_the_heads(batch):
    deltas = torch.randn(batch, len(GRID), 4, generator=torch.Generator().manual_seed(batch))
    torch.testing.assert_close(decode_by_products(GRID, deltas), decode(GRID, deltas), rtol=1e-6, atol=1e-4)


def test_by_hand():
    # An anchor of 20 × 40 round (50, 60); ty = .5, tx = -1, th = log 2, tw = 0: 20 × 80 round (30, 80).
    anchor = torch.tensor([[40.0, 40.0, 60.0, 80.0]])
    deltas = torch.tensor([[[0.5, -1.0, 2.0, 1.0]]])
    deltas[..., 2:] = deltas[..., 2:].log()
    torch.testing.assert_close(decode_by_products(anchor, deltas), torch.tensor([[[20.0, 40.0, 40.0, 120.0]]]))


def test_one_wild_delta_spoils_no_other_box():
    """The products add zeros times the other numbers of the same row: infinity must not leave it."""
    deltas = torch.zeros(1, 2, 4)
    deltas[0, 0, 3] = float("inf")
    boxes = decode_by_products(GRID[:2], deltas)
    torch.testing.assert_close(boxes[0, 1], GRID[1])
