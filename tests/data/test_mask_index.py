"""The look into all masks: what it finds, and that it is done once."""

import os

import numpy as np
import pytest

from effdet.data import mask_index
from effdet.data.mask_index import objects, scan_instances, scan_masks


def test_sizes_values_and_faults(mask_file):
    paths = [mask_file("a.png", np.array([[0, 3, 3]], np.uint8)), mask_file("b.png", np.zeros((2, 2, 3), np.uint8))]
    scan = scan_masks(paths)
    assert scan.sizes.tolist() == [[1, 3], [0, 0]]
    assert scan.counts[0, [0, 3]].tolist() == [1, 2]
    assert scan.faults[0] == b""
    assert "colours" in scan.faults[1].decode()
    assert len(scan_masks([]).faults) == 0


def test_objects_have_the_boxes_of_their_pixels():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 6, (9, 13))
    rows = objects(values, smallest=2)
    assert rows[:, 0].tolist() == [value for value in range(2, 6) if (values == value).any()]
    for value, x, y, width, height, pixels in rows.astype(int).tolist():
        ys, xs = np.nonzero(values == value)
        assert (x, y, x + width, y + height) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        assert pixels == len(xs)
    assert objects(np.zeros((3, 3), int), smallest=1).shape == (0, 6)


def test_a_second_scan_reads_nothing(mask_file, tmp_path, monkeypatch):
    monkeypatch.setenv("EFFDET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mask_index, "WORTH_CACHING", 2)
    paths = [mask_file(f"{name}.png", np.full((2, 3), 26000, np.uint16)) for name in "ab"]
    first = scan_instances(paths, smallest=24)

    def never(path):
        raise AssertionError(f"{path} was read again")

    with monkeypatch.context() as patch:
        patch.setattr(mask_index, "read_instances", never)
        again = scan_instances(paths, smallest=24)
        assert all(np.array_equal(getattr(first, name), getattr(again, name)) for name in ("owner", "values", "bbox"))
        os.utime(paths[0], (1, 1))  # another time of change: another file
        with pytest.raises(AssertionError, match="read again"):
            scan_instances(paths, smallest=24)


def test_a_corrupt_cache_is_written_anew(mask_file, tmp_path, monkeypatch):
    monkeypatch.setenv("EFFDET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mask_index, "WORTH_CACHING", 1)
    path = mask_file("a.png", np.ones((2, 3), np.uint8))
    scan_masks([path])
    (stored,) = (tmp_path / "cache" / "annotations").glob("*.npz")
    stored.write_bytes(b"corrupt")
    assert scan_masks([path]).counts[0, 1] == 6
