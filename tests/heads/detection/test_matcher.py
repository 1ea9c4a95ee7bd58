"""The matchers: by hand, and the paper's rule against a loop written from its description."""

import math

import pytest
import torch
import torchvision

from heads.detection import matcher
from heads.detection.anchors import AnchorSpec, anchors
from heads.detection.boxes import decode
from heads.detection.matcher import (
    Assignment,
    IoUMatcher,
    Matcher,
    MatchInput,
    ScheduledMatcher,
    assign_to_best,
    match_atss,
    match_iou,
    match_tal,
)

SIZES, IMAGE = [(8, 12), (4, 6), (2, 3)], (64, 96)
ANCHORS = anchors(SIZES, IMAGE, AnchorSpec())


def random_targets(batch: int, count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(batch, count, 2, generator=generator) * torch.tensor([80.0, 50.0])
    side = torch.rand(batch, count, 2, generator=generator) ** 2 * 60 + 2
    return torch.cat([corner, corner + side], -1), torch.randint(0, 5, (batch, count), generator=generator)


def paper_rule(boxes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """One image, anchor by anchor."""
    rows = [row for row in range(len(labels)) if labels[row] >= 0]
    answer = torch.full((len(ANCHORS),), -1)
    if not rows:
        return answer
    iou = torchvision.ops.box_iou(boxes[rows], ANCHORS)
    for anchor in range(len(ANCHORS)):
        best = int(iou[:, anchor].argmax())
        if iou[best, anchor] >= 0.5:
            answer[anchor] = rows[best]
    for index in reversed(range(len(rows))):  # the first box has the last word
        answer[int(iou[index].argmax())] = rows[index]
    return answer


def test_by_hand():
    field = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [0, 0, 10, 5]])
    boxes = torch.tensor([[[0.0, 0, 10, 10], [41, 0, 71, 10], [0, 0, 10, 5]]])
    # Anchor 0 equals box 0. Anchor 2 overlaps box 1 by only 9 / 31, but is the best that box 1 has. Anchor 3 equals box 2,
    # and overlaps box 0 by exactly a half.
    assert match_iou(field, boxes, torch.tensor([[0, 1, 2]])).tolist() == [[0, -1, 1, 2]]
    assert match_iou(field, boxes, torch.tensor([[0, 1, -1]])).tolist() == [[0, -1, 1, 0]]  # a half is enough
    assert match_iou(field, boxes, torch.tensor([[0, 1, -1]]), threshold=0.6).tolist() == [[0, -1, 1, -1]]


@pytest.mark.parametrize("pairs", [1, 5 * len(ANCHORS), 1 << 20])
def test_as_the_loop_however_it_is_cut(pairs, monkeypatch):
    monkeypatch.setitem(matcher.PAIRS_AT_ONCE, "cpu", pairs)
    boxes, labels = random_targets(3, 9)
    boxes[0, 5] = boxes[0, 2]  # equal boxes: the first wins
    labels[1, 4:] = -1
    labels[2] = -1
    found = match_iou(ANCHORS, boxes, labels)
    for image in range(3):
        assert torch.equal(found[image], paper_rule(boxes[image], labels[image]))


def test_no_boxes_and_one_box():
    assert (match_iou(ANCHORS, torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.int64)) == -1).all()
    boxes, labels = random_targets(1, 1)
    found = match_iou(ANCHORS, boxes, labels)
    assert (found >= 0).any()
    assert (found <= 0).all()


def test_a_box_that_touches_no_anchor_gets_none():
    boxes = torch.tensor([[[5000.0, 5000, 5010, 5010], [7, 7, 7, 7]]])
    assert (match_iou(ANCHORS, boxes, torch.zeros(1, 2, dtype=torch.int64)) == -1).all()


def test_single_as_batched_and_permuted():
    boxes, labels = random_targets(3, 7, seed=1)
    found = match_iou(ANCHORS, boxes, labels)
    for image in range(3):
        assert torch.equal(match_iou(ANCHORS, boxes[image, None], labels[image, None])[0], found[image])
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    permuted = match_iou(ANCHORS, boxes[:, order], labels[:, order])
    assert torch.equal(torch.where(permuted >= 0, order[permuted.clamp(min=0)], -1), found)


def test_assign_to_best_gives_an_anchor_to_the_best():
    candidates = torch.tensor([[[0, 1], [1, 2], [1, 3]]])
    quality = torch.tensor([[[0.5, 0.4], [0.6, 0.3], [0.6, 0.9]]])
    valid = torch.tensor([[[True, True], [True, True], [True, False]]])
    assert assign_to_best(candidates, quality, valid, 5).tolist() == [[0, 1, 1, -1, -1]]


CELLS = [height * width for height, width in SIZES]


def atss_rule(boxes: torch.Tensor, nearest: int) -> torch.Tensor:
    """One image, by algorithm 1, box by box."""
    iou, centres = torchvision.ops.box_iou(boxes, ANCHORS), (ANCHORS[:, :2] + ANCHORS[:, 2:]) / 2
    best, answer = torch.zeros(len(ANCHORS)), torch.full((len(ANCHORS),), -1)
    for row, box in enumerate(boxes):
        distance = ((box[:2] + box[2:]) / 2 - centres).norm(dim=-1)
        candidates, offset = [], 0
        for cells in CELLS:
            near = distance[offset : offset + cells * 9].argsort(stable=True)[: nearest * 9]
            candidates += (near + offset).tolist()
            offset += cells * 9
        threshold = iou[row, candidates].mean() + iou[row, candidates].std()
        for anchor in candidates:
            inside = (centres[anchor] > box[:2]).all() and (centres[anchor] < box[2:]).all()
            if inside and iou[row, anchor] >= threshold and iou[row, anchor] > best[anchor]:
                best[anchor], answer[anchor] = iou[row, anchor], row
    return answer


def test_atss_as_the_algorithm():
    boxes, labels = random_targets(2, 5, seed=3)
    found = match_atss(ANCHORS, boxes, labels, cells=CELLS, per_cell=9, nearest=4)
    for image in range(2):
        assert torch.equal(found[image], atss_rule(boxes[image], 4))
    assert (found >= 0).any()


def test_tal_by_hand():
    field = torch.tensor([[0.0, 0, 10, 10], [2, 0, 12, 10], [4, 0, 14, 10], [40, 0, 50, 10]])
    boxes = torch.tensor([[[0.0, 0, 12, 10]]])
    logits = torch.tensor([[[-9.0, 3], [-9, 0], [-9, 3], [-9, 9]]])

    # All but the last have their centre inside. Scores .95 .5 .95 times IoU to the sixth of 10/12, 10/12 and 8/14.
    def match(label: int, topk: int) -> list[list[int]]:
        labels = torch.tensor([[label]])
        return match_tal(field, boxes, labels, class_logits=logits, predicted=field[None], topk=topk).index.tolist()

    assert match(1, topk=1) == [[0, -1, -1, -1]]
    assert match(1, topk=2) == [[0, 0, -1, -1]]
    assert match(-1, topk=2) == [[-1] * 4]
    found = match_tal(field, boxes, torch.tensor([[1]]), class_logits=logits, predicted=field[None], topk=3)
    # Alignments t = s u^6, scaled so that the best has the best IoU, 10/12: anchor 1 has .5 / .9526 of it, anchor 2, of the
    # IoU 8/14, (8/14 / (10/12))^6 of it.
    best, sure = 10 / 12, 1 / (1 + math.exp(-3))
    expected = [best, best * 0.5 / sure, best * ((8 / 14) / best) ** 6, 0.0]
    assert found.score is not None and found.score[0].tolist() == pytest.approx(expected, rel=1e-5)


def test_tal_scores_follow_the_box_that_an_anchor_goes_to():
    """Two boxes ask for anchor 1; it goes to the second, and the first one's score is scaled only by its own anchor."""
    field = torch.tensor([[0.0, 0, 10, 10], [6, 0, 16, 10]])
    boxes, labels = torch.tensor([[[0.0, 0, 12, 10], [6, 0, 16, 10]]]), torch.tensor([[0, 0]])
    found = match_tal(field, boxes, labels, class_logits=torch.zeros(1, 2, 1), predicted=field[None], topk=2)
    assert found.index.tolist() == [[0, 1]] and found.score is not None
    assert found.score[0].tolist() == pytest.approx([10 / 12, 1.0])


def test_small_boxes_are_enlarged_to_find_anchors():
    """A box of 4 pixels between the centres of four cells, which are 8 apart."""
    field = torch.tensor([[x - 4.0, y - 4.0, x + 4.0, y + 4.0] for y in (4, 12) for x in (4, 12)])
    boxes, labels = torch.tensor([[[6.0, 6, 10, 10]]]), torch.tensor([[0]])

    def found(smallest: float) -> list[list[int]]:
        logits = torch.zeros(1, 4, 1)
        return match_tal(
            field, boxes, labels, class_logits=logits, predicted=field[None], smallest=smallest
        ).index.tolist()

    assert found(0.0) == [[-1] * 4] and found(8.0) == [[-1] * 4] and found(8.1) == [[0] * 4]


def test_one_matcher_after_another():
    seen = []

    def remember(name: str) -> Matcher:
        def match(inputs: MatchInput) -> Assignment:
            seen.append(name)
            return Assignment(torch.zeros(1, 1, dtype=torch.int64))

        return match

    matcher = ScheduledMatcher(remember("early"), remember("late"), start=0.25)
    for progress in (0.0, 0.2499, 0.25, 1.0):
        empty = torch.zeros(1, 1, 4)
        matcher(MatchInput(empty[0], empty, torch.zeros(1, 1), empty, empty, [1], 1, progress=progress))
    assert seen == ["early", "early", "late", "late"] and matcher.reads_predictions
    assert not ScheduledMatcher(IoUMatcher(), IoUMatcher()).reads_predictions


@pytest.mark.parametrize("name", ["atss", "tal"])
def test_other_matchers_single_as_batched_padded_and_empty(name):
    boxes, labels = random_targets(3, 6, seed=4)
    labels[1, 2:], labels[2] = -1, -1
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, len(ANCHORS), 5, generator=generator)
    predicted = decode(ANCHORS, torch.randn(3, len(ANCHORS), 4, generator=generator) * 0.1)

    def match(index: slice, count: int) -> torch.Tensor:
        given = ANCHORS, boxes[index, :count], labels[index, :count]
        if name == "atss":
            return match_atss(*given, cells=CELLS, per_cell=9)
        found = match_tal(*given, class_logits=logits[index], predicted=predicted[index])
        assert found.score is not None
        assert (found.score >= 0).all() and (found.score <= 1).all() and (found.score[found.index < 0] == 0).all()
        return found.index + found.score

    found = match(slice(None), 6)
    assert (found[0] >= 0).any()
    assert (found[1] < 2).all()
    assert (found[2] == -1).all()
    for image in range(3):
        assert torch.equal(match(slice(image, image + 1), 6)[0], found[image])
    assert torch.equal(match(slice(1, 2), 2)[0], found[1])
    assert (match(slice(None), 0) == -1).all()
