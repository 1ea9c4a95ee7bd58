"""How well embeddings tell identities apart, on identities that training never saw.

Verification: are these two images of one identity? Every pair is scored by its cosine. Retrieval: each image in turn
looks for its own identity among all the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from effdet.evaluation.batch import EvalBatch
from effdet.evaluation.evaluators import RowEvaluator

RATES = (0.1, 0.01, 0.001)
"""False accept rates at which true accepts are reported."""
PLACES = (1, 5, 10)
MAX_PAIRS = 2_000_000
"""More different pairs than this are not all scored, but this many, drawn with a fixed seed."""


def roc_auc(same: np.ndarray, different: np.ndarray) -> float:
    """The probability that a pair of one identity scores above a pair of two, ties counting half; NaN without either.

    Args:
        same: (P,) scores of pairs of one identity.
        different: (Q,) scores of pairs of two.
    """
    if len(same) == 0 or len(different) == 0:
        return float("nan")
    ordered = np.sort(different)
    below = np.searchsorted(ordered, same, side="left")
    up_to = np.searchsorted(ordered, same, side="right")
    return float((below + up_to).sum() / 2 / len(same) / len(different))


def true_accept_rate(same: np.ndarray, different: np.ndarray, false_accepts: float) -> float:
    """Share of `same` above the lowest threshold at which at most `false_accepts` of `different` lie above it.

    NaN where there are fewer than 1 / `false_accepts` different pairs to tell, or none of one identity.
    """
    allowed = int(np.floor(false_accepts * len(different) + 1e-9))
    if len(same) == 0 or allowed < 1:
        return float("nan")
    ordered = np.sort(different)[::-1]
    threshold = ordered[allowed] if allowed < len(ordered) else -np.inf
    return float((same > threshold).mean())


def pair_scores(embeddings: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of the pairs of one identity, and of pairs of two: all of them, or `MAX_PAIRS` drawn.

    Args:
        embeddings: (N, D) of length 1.
        labels: (N,) int64 identities.
    """
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=labels[order][:1] - 1)) if len(labels) else np.zeros(0, int)
    same = []
    for members in np.split(order, starts[1:]) if len(labels) else []:
        first, second = np.triu_indices(len(members), 1)
        same.append((embeddings[members[first]] * embeddings[members[second]]).sum(1))
    count = len(labels)
    if count * (count - 1) // 2 <= MAX_PAIRS:
        first, second = np.triu_indices(count, 1)
    else:
        rng = np.random.default_rng(0)
        first, second = rng.integers(0, count, (2, MAX_PAIRS))
    apart = labels[first] != labels[second]
    first, second = first[apart], second[apart]
    different = [
        (embeddings[first[part : part + 100_000]] * embeddings[second[part : part + 100_000]]).sum(1)
        for part in range(0, len(first), 100_000)
    ]
    return np.concatenate([np.zeros(0), *same]), np.concatenate([np.zeros(0), *different])


def retrieval(embeddings: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """``recall@k`` for `PLACES`, and ``mAP``: each image is a query to all the others.

    recall@k: the share of queries with their identity among the first k. mAP: the mean over queries of the average precision
    over all places where it stands. The only image of an identity is not a query, but stands among the others.
    Equal scores rank by place in the set.

    Args:
        embeddings: (N, D) of length 1.
        labels: (N,) int64 identities.
    """
    counts = np.bincount(labels, minlength=1)
    queries = np.flatnonzero(counts[labels] > 1)
    firsts, precisions = [], []
    for part in range(0, len(queries), 256):
        rows = queries[part : part + 256]
        scores = embeddings[rows] @ embeddings.T
        scores[np.arange(len(rows)), rows] = -np.inf
        hits = labels[np.argsort(-scores, axis=1, kind="stable")] == labels[rows][:, None]
        hits[:, -1] = False  # the query itself
        place = np.arange(1, len(labels) + 1)
        firsts.append(hits.argmax(axis=1))
        precisions.append((hits * hits.cumsum(axis=1) / place).sum(axis=1) / hits.sum(axis=1))
    if not firsts:
        return {**{f"recall@{k}": float("nan") for k in PLACES}, "mAP": float("nan")}
    first = np.concatenate(firsts)
    found = {f"recall@{k}": float((first < k).mean()) for k in PLACES}
    return {**found, "mAP": float(np.concatenate(precisions).mean())}


def embedding_metrics(embeddings: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Retrieval, and verification: ``AUC`` of the ROC curve, ``TAR@FAR=x`` (true accepts at a rate of false ones).

    Args:
        embeddings: (N, D) of length 1.
        labels: (N,) int64 identities.
    """
    same, different = pair_scores(embeddings, labels)
    rates = {f"TAR@FAR={rate:g}": true_accept_rate(same, different, rate) for rate in RATES}
    identities = int((np.bincount(labels, minlength=1) > 0).sum())
    pairs = {"identities": identities, "same_pairs": len(same), "different_pairs": len(different)}
    return {**retrieval(embeddings, labels), "AUC": roc_auc(same, different), **rates, **pairs}


class EmbeddingEvaluator(RowEvaluator[tuple[int, np.ndarray]]):
    """Verification and retrieval over the images that have a label; the labels need not be the model's.

    A row: identity, (D,) float32.
    """

    def update(self, predictions: Tensor, batch: EvalBatch) -> None:
        values = predictions.float().cpu().numpy()
        for row, (index, record) in enumerate(zip(batch.indices, batch.records, strict=True)):
            if record.label is not None:
                self._rows[index] = (int(record.label), values[row])

    def metrics(self) -> dict[str, Any]:
        rows = list(self.rows.values())
        labels = np.array([label for label, _ in rows], np.int64)
        values = np.array([value for _, value in rows], np.float32).reshape(len(rows), -1 if rows else 1)
        return embedding_metrics(values, labels)
