"""statistics.npz: there and back, and what is no such file."""

from __future__ import annotations

import numpy as np
import pytest

from effdet.report.statistics.boxes import BoxSet, match
from effdet.report.statistics.files import Recorded, SplitIdentity, read_statistics, write_statistics
from effdet.report.statistics.samples import BoxStatistic, ClassStatistic, MapStatistic
from heads.structures import UserError
from tests.report.statistics.box_sets import random_set

IDENTITY = SplitIdentity("coco", "val", "ab" * 32)


def test_there_and_back(tmp_path):
    rng = np.random.default_rng(0)
    statistics = {
        "detection": BoxStatistic(match(BoxSet.of(*random_set(0)))),
        "semantic": MapStatistic.of(list(rng.integers(0, 99, (8, 3, 4))), ["a", "b", "c"]),
        "classification": ClassStatistic(rng.integers(0, 9, 8), rng.integers(0, 3, 8)),
    }
    images = {head: [str(index) for index in range(8)] for head in statistics}
    path = write_statistics(tmp_path / "new folder" / "statistics.npz", Recorded(IDENTITY, statistics, images))
    read = read_statistics(path)
    assert read.identity == IDENTITY and read.images == images
    weights = rng.multinomial(8, [1 / 8] * 8, size=5)
    for head, statistic in statistics.items():
        before, after = statistic(weights), read.statistics[head](weights)
        assert list(before) == list(after)
        for name in before:
            np.testing.assert_array_equal(before[name], after[name])
    assert [entry.name for entry in path.parent.iterdir()] == ["statistics.npz"]


def test_what_is_no_such_file(tmp_path):
    text = tmp_path / "text.npz"
    text.write_text("nothing")
    other = tmp_path / "other.npz"
    np.savez(other, a=np.zeros(3))
    for path in (text, other, tmp_path / "absent.npz"):
        with pytest.raises(UserError, match="not the statistics of an evaluation"):
            read_statistics(path)


def test_a_later_version(tmp_path, monkeypatch):
    monkeypatch.setattr("effdet.report.statistics.files.FORMAT", 2)
    path = write_statistics(tmp_path / "s.npz", Recorded(IDENTITY, {}, {}))
    monkeypatch.undo()
    with pytest.raises(UserError, match="format 2, this version reads 1"):
        read_statistics(path)
