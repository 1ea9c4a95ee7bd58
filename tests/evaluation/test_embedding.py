"""Verification and retrieval against counting pair by pair and query by query."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from effdet.evaluation import EmbeddingEvaluator, EvalBatch, embedding_metrics
from effdet.evaluation.embedding import pair_scores, retrieval, roc_auc, true_accept_rate
from heads.structures import Geometry


def points(count: int = 30, identities: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, identities, count)
    values = rng.normal(size=(identities, 4))[labels] + rng.normal(size=(count, 4))
    return values / np.linalg.norm(values, axis=1, keepdims=True), labels


def test_auc_is_the_share_of_ordered_pairs():
    same, different = np.array([0.9, 0.5, 0.5]), np.array([0.5, 0.1, 0.7, 0.5])
    wins = sum((s > d) + (s == d) / 2 for s in same for d in different)
    assert roc_auc(same, different) == pytest.approx(wins / 12)
    assert math.isnan(roc_auc(same, np.zeros(0)))


def test_auc_is_the_area_under_the_curve():
    values, labels = points()
    same, different = pair_scores(values, labels)
    thresholds = np.sort(np.unique(np.concatenate([same, different, [-2, 2]])))[::-1]
    accepts = [(different >= t).mean() for t in thresholds], [(same >= t).mean() for t in thresholds]
    assert roc_auc(same, different) == pytest.approx(np.trapezoid(accepts[1], accepts[0]))


def test_true_accepts_by_hand():
    different = np.arange(10) / 10  # 0 … .9
    same = np.array([0.95, 0.85, 0.9, 0.2])
    assert true_accept_rate(same, different, 0.1) == pytest.approx(3 / 4)  # above .8: only .9 is accepted wrongly
    assert true_accept_rate(same, different, 0.5) == pytest.approx(3 / 4)
    assert math.isnan(true_accept_rate(same, different, 0.05))
    assert true_accept_rate(same, np.full(10, 0.9), 0.1) == pytest.approx(1 / 4)  # a tie accepts all or none


def test_pairs_are_all_pairs():
    values, labels = points()
    same, different = pair_scores(values, labels)
    expected = {True: [], False: []}
    for first in range(30):
        for second in range(first):
            expected[bool(labels[first] == labels[second])].append(float(values[first] @ values[second]))
    assert np.sort(same) == pytest.approx(np.sort(expected[True]))
    assert np.sort(different) == pytest.approx(np.sort(expected[False]))


def test_pairs_of_a_large_set_are_drawn(monkeypatch):
    monkeypatch.setattr("effdet.evaluation.embedding.MAX_PAIRS", 100)
    values, labels = points()
    same, different = pair_scores(values, labels)
    assert len(same) == sum(n * (n - 1) // 2 for n in np.bincount(labels)) and 50 < len(different) <= 100
    assert np.array_equal(different, pair_scores(values, labels)[1])


def test_retrieval_query_by_query():
    values, labels = points(seed=3)
    labels[0] = 99  # alone: no query
    first, precision = [], []
    for query in range(1, 30):
        others = [index for index in range(30) if index != query]
        order = sorted(others, key=lambda index: -float(values[query] @ values[index]))
        hits = [labels[index] == labels[query] for index in order]
        if not any(hits):
            continue
        first.append(hits.index(True))
        places = [place for place, hit in enumerate(hits, 1) if hit]
        precision.append(np.mean([(n + 1) / place for n, place in enumerate(places)]))
    found = retrieval(values, labels)
    for k in (1, 5, 10):
        assert found[f"recall@{k}"] == pytest.approx(np.mean([place < k for place in first]))
    assert found["mAP"] == pytest.approx(np.mean(precision))


def test_perfect_and_nothing():
    labels = np.array([0, 0, 1, 1])
    found = embedding_metrics(np.eye(2)[labels], labels)
    assert found["recall@1"] == found["mAP"] == found["AUC"] == 1
    assert found["identities"] == 2 and found["same_pairs"] == 2 and found["different_pairs"] == 4
    for count in (0, 1):
        empty = embedding_metrics(np.eye(2)[:count], np.zeros(count, np.int64))
        assert math.isnan(empty["recall@1"]) and math.isnan(empty["AUC"])


def test_the_evaluator_gathers_batches():
    values, labels = points()
    whole, parts = EmbeddingEvaluator(), [EmbeddingEvaluator(), EmbeddingEvaluator()]

    def batch(rows: slice) -> EvalBatch:
        indices = tuple(range(30))[rows]
        return EvalBatch(
            torch.zeros(len(indices), 3, 2, 2, dtype=torch.uint8),
            (Geometry((2, 2), (2, 2)),) * len(indices),
            tuple(SimpleNamespace(label=int(labels[index])) for index in indices),
            indices,
        )

    whole.update(torch.tensor(values), batch(slice(None)))
    for part, rows in zip(parts, (slice(0, 11), slice(11, None)), strict=True):
        part.update(torch.tensor(values)[rows], batch(rows))
    parts[0].merge([part.state() for part in parts[::-1]])
    assert parts[0].metrics() == pytest.approx(whole.metrics(), nan_ok=True)
