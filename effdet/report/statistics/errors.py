"""What keeps AP50 down, and what each kind of mistake costs (Bolya et al. 2020, "TIDE", arXiv 2008.08115, section 2).

Every wrong detection has exactly one kind, by its IoU with true boxes (t_f = .5, t_b = .1):

    Loc   best true box of its class overlaps by t_b … t_f: right class, poor box
    Cls   a true box of another class overlaps by t_f or more: right box, wrong class
    Dupe  a true box of its class overlaps by t_f or more, but a detection of higher score has it
    Bkg   no true box overlaps by more than t_b
    Both  what is left: wrong class and poor box

and a true box that no detection found, nor would find were those mended, is Missed. The cost of a kind is the AP50 gained
by mending all its errors and nothing else (dAP). Costs don't add up: mending one kind changes what another costs.

Deviations from the authors' program: detections on a crowd are no errors (there they are); a class without any true box
has no AP, as in COCO (there 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from effdet.report.statistics.boxes import BoxSet, Matches
from effdet.report.statistics.precision import area

FOREGROUND, BACKGROUND = 0.5, 0.1
"""t_f and t_b."""
KINDS = ("Cls", "Loc", "Both", "Dupe", "Bkg", "Missed")
MEANINGS = {
    "Cls": "right place, wrong class",
    "Loc": "right class, poor box",
    "Both": "wrong class and poor box",
    "Dupe": "found twice",
    "Bkg": "nothing is there",
    "Missed": "not found at all",
}
_CLS, _LOC, _BOTH, _DUPE, _BKG = range(5)


@dataclass(frozen=True, eq=False)
class Mistakes:
    """The kind of each wrong detection, and the true boxes that nothing found."""

    kind: np.ndarray
    """(N,) int8 index into `KINDS`, -1 for detections that are right or ignored."""
    mended: np.ndarray
    """(N,) int64: the unmatched true box that a Cls or Loc error would find when mended, if it is the one of highest score
    to find it; else -1."""
    missed: np.ndarray
    """(M,) bool."""


@dataclass(frozen=True)
class ErrorBreakdown:
    """How many mistakes of each kind there are, and the AP50 each kind costs."""

    ap50: float
    counts: dict[str, int]
    """By kind."""
    cost: dict[str, float]
    """By kind: dAP, the AP50 gained by mending it, in 0…1."""
    false_positives: float
    """AP50 gained if no detection were wrong."""
    false_negatives: float
    """AP50 gained if no true box were unmatched."""


def find_mistakes(boxes: BoxSet, matches: Matches) -> Mistakes:
    """Give every wrong detection its kind."""
    kind, mended = np.full(len(boxes.score), -1, np.int8), np.full(len(boxes.score), -1)
    unmatched = ~boxes.crowd
    unmatched[matches.truth[matches.truth >= 0]] = False
    wrong = matches.counted & ~matches.hit[0]
    for _, found, true, iou in boxes:
        found, iou = found[wrong[found]], iou[wrong[found]]
        true, iou = true[~boxes.crowd[true]], iou[:, ~boxes.crowd[true]]
        if not found.size:
            continue
        if not true.size:
            kind[found] = _BKG
            continue
        same = boxes.label[found][:, None] == boxes.true_label[true][None]  # (D, G)
        own, other = np.where(same, iou, 0.0), np.where(same, 0.0, iou)
        best_own, best_other = own.max(1), other.max(1)
        taken = np.where(same & ~unmatched[true], iou, 0.0).max(1)
        chain = (
            ((best_own >= BACKGROUND) & (best_own <= FOREGROUND), _LOC),
            (best_other >= FOREGROUND, _CLS),
            (taken >= FOREGROUND, _DUPE),
            (iou.max(1) <= BACKGROUND, _BKG),
        )
        kind[found] = np.select([rule for rule, _ in chain], [value for _, value in chain], _BOTH)
        candidate = np.where(kind[found] == _LOC, own.argmax(1), other.argmax(1))
        mendable = np.isin(kind[found], (_LOC, _CLS)) & unmatched[true[candidate]]
        mended[found[mendable]] = true[candidate[mendable]]
    usable = np.zeros(len(unmatched), bool)
    usable[mended[mended >= 0]] = True
    return Mistakes(kind, _first_only(mended, boxes), unmatched & ~usable)


def error_breakdown(boxes: BoxSet, matches: Matches) -> ErrorBreakdown:
    """Counts and costs of all kinds."""
    mistakes = find_mistakes(boxes, matches)
    counted = np.flatnonzero(matches.counted)
    right = matches.hit[0]
    totals = np.bincount(boxes.true_label[~boxes.crowd], minlength=len(boxes.names))
    known = totals > 0
    before = _ap50(boxes.score[counted], boxes.label[counted], right[counted], totals, known)

    def after(kind: int) -> float:
        if KINDS[kind] == "Missed":
            left = totals - np.bincount(boxes.true_label[mistakes.missed], minlength=len(totals))
            return _ap50(boxes.score[counted], boxes.label[counted], right[counted], left, known)
        of_kind = mistakes.kind == kind
        mends = of_kind & (mistakes.mended >= 0)
        keep = np.flatnonzero(matches.counted & (~of_kind | mends))
        label = np.where(
            mends, boxes.true_label[np.maximum(mistakes.mended, 0)] if len(boxes.true_label) else 0, boxes.label
        )
        return _ap50(boxes.score[keep], label[keep], (right | mends)[keep], totals, known)

    hits = np.flatnonzero(right)
    found = np.bincount(boxes.label[hits], minlength=len(totals))
    no_wrong = _ap50(boxes.score[hits], boxes.label[hits], right[hits], totals, known)
    no_missing = _ap50(boxes.score[counted], boxes.label[counted], right[counted], found, known)
    return ErrorBreakdown(
        ap50=before,
        counts={name: int((mistakes.kind == index).sum()) for index, name in enumerate(KINDS[:-1])}
        | {"Missed": int(mistakes.missed.sum())},
        cost={name: after(index) - before for index, name in enumerate(KINDS)},
        false_positives=no_wrong - before,
        false_negatives=no_missing - before,
    )


def _first_only(mended: np.ndarray, boxes: BoxSet) -> np.ndarray:
    """Of several errors that would find one true box, the one of highest score (the first of equal ones) does."""
    rows = np.flatnonzero(mended >= 0)
    rows = rows[np.argsort(-boxes.score[rows], kind="stable")]
    _, first = np.unique(mended[rows], return_index=True)
    result = np.full_like(mended, -1)
    result[rows[first]] = mended[rows[first]]
    return result


def _ap50(score: np.ndarray, label: np.ndarray, right: np.ndarray, totals: np.ndarray, known: np.ndarray) -> float:
    """Mean AP50 over the `known` classes; one of which nothing is left, neither truth nor detection, drops out."""
    values = []
    order = np.argsort(-score, kind="stable")
    for index in np.flatnonzero(known):
        rows = order[label[order] == index]
        if not rows.size and not totals[index]:
            continue
        hits = np.flatnonzero(right[rows])
        if not totals[index] or not hits.size:
            values.append(0.0)
            continue
        values.append(float(area(np.arange(1, hits.size + 1)[None], hits[None] + 1, totals[index : index + 1])[0]))
    return float(np.mean(values)) if values else 0.0
