"""A large file is parsed once."""

from __future__ import annotations

import os

import numpy as np
import pytest

from effdet.data import DataError, DataSpec, coco_json, open_dataset, parsed_cache


@pytest.fixture
def parsings(monkeypatch, tmp_path_factory):
    """Caches files of any size in a folder of its own, and counts how often JSON is parsed."""
    directory = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("EFFDET_CACHE", str(directory))
    monkeypatch.setattr(parsed_cache, "SMALLEST", 0)
    counted = []
    load = coco_json.load_json
    monkeypatch.setattr(coco_json, "load_json", lambda path: counted.append(path) or load(path))
    return directory, counted


def test_second_reading_is_equal_and_parses_nothing(coco_set, parsings):
    directory, counted = parsings
    spec = DataSpec("coco", root=coco_set(3))
    first, second = open_dataset(spec), open_dataset(spec)
    assert len(counted) == 1
    assert first.fingerprint() == second.fingerprint()
    assert first.coco() == second.coco()
    assert [path.suffix for path in directory.rglob("*.*")] == [".npz"]


def test_a_changed_file_is_parsed_again(coco_set, parsings):
    _, counted = parsings
    root = coco_set(3)
    open_dataset(DataSpec("coco", root=root))
    path = root / "annotations/instances_train2017.json"
    path.write_text(path.read_text().replace("car", "van"))
    assert open_dataset(DataSpec("coco", root=root)).classes.names[0] == "van"
    os.utime(path, (1, 1))
    open_dataset(DataSpec("coco", root=root))
    assert len(counted) == 3


@pytest.mark.parametrize("content", [b"", b"PK\3\4 corrupt", b"\x93NUMPY"])
def test_a_corrupt_cache_is_replaced(coco_set, parsings, content):
    directory, counted = parsings
    spec = DataSpec("coco", root=coco_set(3))
    expected = open_dataset(spec).fingerprint()
    (cached,) = directory.rglob("*.npz")
    cached.write_bytes(content)
    assert open_dataset(spec).fingerprint() == expected
    with np.load(cached) as arrays:
        assert len(arrays["image_ids"]) == 3
    assert len(counted) == 2


def test_faults_are_reported_each_time(coco_set, parsings):
    directory, _ = parsings
    root = coco_set(3, edit=lambda content: content["annotations"][0].update(bbox=None))
    for _ in range(2):
        with pytest.raises(DataError, match="bbox must be 4 numbers"):
            open_dataset(DataSpec("coco", root=root))
    assert not list(directory.rglob("*.npz"))


def test_a_cache_that_cannot_be_written_is_none(coco_set, parsings, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("EFFDET_CACHE", str(tmp_path / "file"))
    assert len(open_dataset(DataSpec("coco", root=coco_set(3)))) == 3
