"""Box sides as distributions: the expectation, the loss against its formula, the first box, and the head that has them."""

import math

import pytest
import torch

from heads.detection import AnchorSpec, DetectionHead, DetectionLoss, DetectionOptions, anchors
from heads.detection.boxes import decode
from heads.detection.distribution import distances, distribution_focal_loss, expected_deltas, initial_biases
from heads.protocol import Context
from heads.structures import Targets, UserError
from tests.heads.detection.test_head import EMPTY, HERE, LEVELS, features, targets

GRID = anchors([(4, 6), (2, 3)], (32, 48), AnchorSpec(4.0, 1, (1.0, (2.0, 0.5))))  # (60, 4)


def boxes_about(grid, batch=2, seed=0):
    """(B, A, 4): boxes with each anchor's centre inside, at most two anchor sides away."""
    torch.manual_seed(seed)
    centre, side = (grid[:, :2] + grid[:, 2:]) / 2, grid[:, 2:] - grid[:, :2]
    near, far = torch.rand(batch, len(grid), 2) * 1.9 + 0.05, torch.rand(batch, len(grid), 2) * 1.9 + 0.05
    return torch.cat([centre - near * side, centre + far * side], -1)


def interpolated(grid, boxes, bins):
    """Logits whose only two bins are those beside each distance, in the share that makes it their mean."""
    place = distances(grid, boxes) * (bins - 1) / 2
    lower = place.floor()
    steps = torch.arange(bins)
    share = torch.where(steps == lower[..., None], 1 - (place - lower)[..., None], 0.0)
    share = torch.where(steps == lower[..., None] + 1, (place - lower)[..., None], share)
    return share.clamp(min=1e-30).log()


def test_expectation_by_hand():
    """Three bins stand for 0, 1 and 2 anchor sides."""
    even = expected_deltas(torch.zeros(4, 3))
    assert even.tolist() == pytest.approx([0, 0, math.log(2), math.log(2)])  # one side each way: twice the anchor
    far = torch.full((4, 3), -50.0)
    far[0, 0] = far[1, 1] = far[2, 2] = far[3, 1] = 50.0  # l 0, t 1, r 2, b 1
    assert expected_deltas(far).tolist() == pytest.approx([0, 1, math.log(2), math.log(2)])


@pytest.mark.parametrize("bins", [2, 9, 17])
def test_a_box_there_and_back(bins):
    boxes = boxes_about(GRID)
    torch.testing.assert_close(
        decode(GRID, expected_deltas(interpolated(GRID, boxes, bins))), boxes, rtol=1e-4, atol=1e-3
    )


def plain(logits, grid, boxes, positive, score):
    """Equation 6, anchor by anchor, side by side."""
    total, bins = 0.0, logits.shape[-1]
    for image in range(len(logits)):
        for anchor in range(len(grid)):
            if not positive[image, anchor]:
                continue
            x1, y1, x2, y2 = grid[anchor].tolist()
            cx, cy, w, h = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
            bx1, by1, bx2, by2 = boxes[image, anchor].tolist()
            sides = [(cx - bx1) / w, (cy - by1) / h, (bx2 - cx) / w, (by2 - cy) / h]
            for side, distance in enumerate(sides):
                y = min(max(distance / 2 * (bins - 1), 0.0), bins - 1.0)
                i = min(int(y), bins - 2)
                row = logits[image, anchor, side].double()
                log_s = row - row.logsumexp(0)
                loss = -((i + 1 - y) * log_s[i] + (y - i) * log_s[i + 1]).item()
                total += loss / 4 * (1.0 if score is None else score[image, anchor].item())
    return total


@pytest.mark.parametrize("scored", [False, True])
@pytest.mark.parametrize("bins", [2, 5, 17])
def test_the_loss_as_defined(bins, scored):
    boxes, logits = boxes_about(GRID), torch.randn(2, len(GRID), 4, bins) * 3
    boxes[0, 0] = GRID[0] + torch.tensor(
        [100.0, 100, 120, 120]
    )  # the centre outside: distances below 0 and beyond the last
    positive = torch.rand(2, len(GRID)) < 0.4
    positive[0, 0] = True
    score = torch.rand(2, len(GRID)) if scored else None
    found = distribution_focal_loss(logits, GRID, boxes, positive, score=score)
    assert found.dtype == torch.float32 and found.item() == pytest.approx(
        plain(logits, GRID, boxes, positive, score), rel=1e-4
    )
    single = sum(
        distribution_focal_loss(logits[row, None], GRID, boxes[row, None], positive[row, None],
                                score=None if score is None else score[row, None])
        for row in range(2)
    )  # fmt: skip
    torch.testing.assert_close(single, found, rtol=1e-5, atol=1e-5)
    half = distribution_focal_loss(logits.bfloat16(), GRID, boxes, positive, score=score)
    exact = distribution_focal_loss(logits.bfloat16().float(), GRID, boxes, positive, score=score)
    assert half.dtype == torch.float32 and torch.equal(half, exact)


def test_the_loss_is_least_where_the_two_bins_meet_the_distance():
    boxes = boxes_about(GRID)
    positive = torch.ones(2, len(GRID), dtype=torch.bool)
    logits = interpolated(GRID, boxes, 9).requires_grad_()
    distribution_focal_loss(logits, GRID, boxes, positive).backward()
    assert logits.grad.abs().max() < 1e-5


def test_gradcheck():
    grid = GRID[:6].double()
    boxes = boxes_about(grid, batch=1).double()
    positive = torch.tensor([[True, False, True, True, False, True]])
    logits = torch.randn(1, 6, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: distribution_focal_loss(x, grid, boxes, positive), logits)
    assert torch.autograd.gradcheck(expected_deltas, logits)


def test_no_boxes_and_boxes_without_extent():
    logits = torch.randn(1, len(GRID), 4, 9, requires_grad=True)
    nothing = torch.zeros(1, len(GRID), dtype=torch.bool)
    loss = distribution_focal_loss(logits, GRID, torch.full((1, len(GRID), 4), math.nan), nothing)
    loss.backward()
    assert loss == 0 and logits.grad is not None and not logits.grad.any()
    certain = torch.zeros(1, 1, 4, 9)
    certain[..., 0] = 500.0  # all four distances are 0
    certain.requires_grad_()
    deltas = expected_deltas(certain)
    deltas.sum().backward()
    assert deltas.isfinite().all() and certain.grad.isfinite().all()


@pytest.mark.parametrize("bins", [2, 9, 17, 128])
def test_the_first_boxes_are_the_anchors(bins):
    biases = initial_biases(torch.empty(8 * bins), bins).view(2, 4, bins)
    assert expected_deltas(biases).abs().max() < 1e-5
    out = head(bins=bins)(features(), HERE)
    assert out.box_deltas.abs().max() < 0.2
    assert out.box_bins.shape == (2, len(out.anchors), 4, bins)


def head(bins=9, **options) -> DetectionHead:
    torch.manual_seed(0)
    spec = AnchorSpec(4.0, 1, (1.0,))
    return DetectionHead(8, 3, DetectionOptions(levels=LEVELS, repeats=2, bins=bins, anchors=spec, **options))


RECIPES = [
    {},
    {"matcher": "atss", "box": "giou"},
    {"matcher": "atss_tal", "classes": "quality", "box": "giou", "box_by_score": True, "normalizer": "score"},
]


@pytest.mark.parametrize("settings", RECIPES, ids=str)
def test_a_head_with_bins_learns_in_every_parameter(settings):
    model = head(loss=DetectionLoss(**settings))
    out = model(features(), HERE)
    terms = model.loss(out, targets(), HERE)
    assert set(terms) == {"class", "box", "dfl"} and all(term.dtype == torch.float32 for term in terms.values())
    sum(terms.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    goal = model.goal(out, targets(), HERE)
    score = goal.score if settings.get("box_by_score") else None
    expected = (
        0.25 * plain(out.box_bins.detach(), out.anchors, goal.boxes, goal.positive, score) / float(model.divisor(goal))
    )
    assert terms["dfl"].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("goal", EMPTY)
def test_no_targets(goal):
    model = head()
    terms = model.loss(model(features(), HERE), goal, HERE)
    sum(terms.values()).backward()
    assert terms["dfl"] == terms["box"] == 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_one_box_is_learnt_to_the_pixel():
    model = head(loss=DetectionLoss(matcher="atss", box="giou"))
    goal = Targets(boxes=torch.tensor([[[10.0, 8, 53, 50]]]), labels=torch.tensor([[1]]))
    x = features(batch=1)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(200):
        optimizer.zero_grad()
        sum(model.loss(model(x, HERE), goal, HERE).values()).backward()
        optimizer.step()
    best = model.predict(model(x, HERE), HERE)
    assert best.labels[0, 0] == 1
    torch.testing.assert_close(best.boxes[0, 0], goal.boxes[0, 0], rtol=0, atol=1.5)


def test_single_as_batched_autocast_fold_and_export():
    model, x = head().eval(), features(batch=3)
    out = model(x, HERE)
    for image in range(3):
        own = model({name: value[image, None] for name, value in x.items()}, HERE)
        torch.testing.assert_close(own.box_deltas[0], out.box_deltas[image], rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model(x, HERE)
        assert half.box_bins.dtype == torch.bfloat16 and half.box_deltas.dtype == torch.float32
    torch.testing.assert_close(half.box_deltas, out.box_deltas, rtol=0, atol=0.02)
    assert torch.equal(half.box_deltas, expected_deltas(half.box_bins.float()))

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = model

        def forward(self, x):
            return self.head(x, Context((64, 96))).box_deltas

    torch.testing.assert_close(torch.export.export(Flat(), (x,)).module()(x), out.box_deltas)


def test_the_default_has_no_bins_and_its_weight_is_refused():
    plain_head = DetectionHead(8, 3, DetectionOptions(levels=LEVELS))
    out = plain_head(features(), HERE)
    assert out.box_bins is None and plain_head.box_net.last.out_channels == 36
    assert set(plain_head.loss(out, targets(), HERE)) == {"class", "box"}
    with pytest.raises(UserError, match=r"loss\.dfl_weight=0\.5: only a head with bins .* head\.detection\.bins=17"):
        DetectionOptions(loss=DetectionLoss(dfl_weight=0.5))
    with pytest.raises(UserError, match="bins"):
        DetectionOptions(bins=1)
    assert (
        DetectionHead(8, 3, DetectionOptions(levels=LEVELS, bins=5, loss=DetectionLoss(dfl_weight=0.5))).dfl_weight
        == 0.5
    )
