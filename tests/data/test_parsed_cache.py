"""A large file is parsed once."""

from __future__ import annotations

import os

import numpy as np
import pytest

from effdet.data import DataError, DataSpec, coco_json, open_source, parsed_cache


@pytest.fixture
def parsings(monkeypatch, tmp_path_factory):
    """Caches files of any size in a folder of its own, and counts how often JSON is parsed."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("EFFDET_CACHE", str(folder))
    monkeypatch.setattr(parsed_cache, "SMALLEST", 0)
    counted = []
    load = coco_json.load_json
    monkeypatch.setattr(coco_json, "load_json", lambda path: counted.append(path) or load(path))
    return folder, counted


def test_second_reading_is_equal_and_parses_nothing(coco_set, parsings):
    folder, counted = parsings
    spec = DataSpec("coco", root=coco_set(3))
    first, second = open_source(spec), open_source(spec)
    assert len(counted) == 1
    assert first.fingerprint() == second.fingerprint()
    assert first.coco() == second.coco()
    assert [path.suffix for path in folder.rglob("*.*")] == [".npz"]


def test_a_changed_file_is_parsed_again(coco_set, parsings):
    _, counted = parsings
    root = coco_set(3)
    open_source(DataSpec("coco", root=root))
    path = root / "annotations/instances_train2017.json"
    path.write_text(path.read_text().replace("car", "van"))
    assert open_source(DataSpec("coco", root=root)).classes.names[0] == "van"
    os.utime(path, (1, 1))
    open_source(DataSpec("coco", root=root))
    assert len(counted) == 3


@pytest.mark.parametrize("content", [b"", b"PK\3\4 torn", b"\x93NUMPY"])
def test_a_torn_cache_is_replaced(coco_set, parsings, content):
    folder, counted = parsings
    spec = DataSpec("coco", root=coco_set(3))
    expected = open_source(spec).fingerprint()
    (cached,) = folder.rglob("*.npz")
    cached.write_bytes(content)
    assert open_source(spec).fingerprint() == expected
    with np.load(cached) as arrays:
        assert len(arrays["picture_ids"]) == 3
    assert len(counted) == 2


def test_faults_are_told_each_time(coco_set, parsings):
    folder, _ = parsings
    root = coco_set(3, edit=lambda content: content["annotations"][0].update(bbox=None))
    for _ in range(2):
        with pytest.raises(DataError, match="bbox must be 4 numbers"):
            open_source(DataSpec("coco", root=root))
    assert not list(folder.rglob("*.npz"))


def test_a_cache_that_cannot_be_written_is_none(coco_set, parsings, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("EFFDET_CACHE", str(tmp_path / "file"))
    assert len(open_source(DataSpec("coco", root=coco_set(3)))) == 3
