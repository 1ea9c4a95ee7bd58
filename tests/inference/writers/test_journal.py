"""The journal: several runs into one folder, names of files that belong to results, what is refused."""

import json

import pytest

from effdet.inference.jobs.output import Job, distinct_from_others, distinct_stem
from effdet.inference.writers import Entry, Journal, VideoRecord, read_entries
from heads.structures import UserError


def entry(file, **more):
    return Entry(file, 4, 6, [], **more)


def files(path):
    return [(found.file, found.frame, found.image_id) for found in read_entries(path)]


def test_runs_of_the_same_settings_replace_their_own_files_only(tmp_path):
    path = tmp_path / "j"
    with Journal(path, {"a": 1}, files=["x", "y"]) as journal:
        journal.add(entry("x"))
        journal.add(entry("y"))
    with Journal(path, {"a": 1}, files=["v"]) as journal:
        for frame in range(2):
            journal.add(entry("v", frame=frame))
        assert journal.has_frames and not journal.entries  # frames are not held in memory
    assert files(path) == [("x", None, 1), ("y", None, 2), ("v", 0, 3), ("v", 1, 4)]
    with Journal(path, {"a": 1}, files=["x"]) as journal:
        assert journal.offset(["x"]) == 4
        journal.add(entry("x"))
    assert files(path) == [("y", None, 2), ("v", 0, 3), ("v", 1, 4), ("x", None, 5)]


def test_resume_keeps_images_and_finished_videos(tmp_path):
    path = tmp_path / "j"
    with Journal(path, {}, files=["x", "v", "w"]) as journal:
        journal.add(entry("x"))
        journal.record(VideoRecord("v", ("v.mp4",)))
        journal.add(entry("v", frame=0))
        journal.record(VideoRecord("v", ("v.mp4",), True, 1))
        journal.record(VideoRecord("w", ("w.mp4",)))
        journal.add(entry("w", frame=0))
    with path.open("a") as file:
        file.write('{"file": "w", "hei')  # killed while writing
    with Journal(path, {}, files=["x", "v", "w"], resume=True) as journal:
        assert list(journal.entries) == ["x"] and list(journal.done) == ["v"]
        assert journal.names == {"v": ["v.mp4"], "w": ["w.mp4"]}
        journal.add(entry("w", frame=0))
    assert files(path) == [("v", 0, 2), ("x", None, 1), ("w", 0, 3)]
    with Journal(path, {}, files=["x", "v", "w"]) as journal:
        assert not journal.entries and not journal.done
    assert files(path) == []


def test_other_settings_are_refused_or_overwritten(tmp_path):
    path = tmp_path / "j"
    with Journal(path, {"score_threshold": 0.3}, files=["x"]) as journal:
        journal.add(entry("x", drawing="x.jpg"))
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"another run's results \(score_threshold was 0.3, is 0.5\).*overwrite=true"):
        Journal(path, {"score_threshold": 0.5}, files=["x"])
    assert path.read_bytes() == before
    with Journal(path, {"score_threshold": 0.5}, files=["y"], overwrite=True) as journal:
        assert journal.replaceable == {"x.jpg"}
    assert files(path) == []
    path.write_text('[{"image_id": 1}]\n')
    with pytest.raises(UserError, match="not written by predict"):
        Journal(path, {}, files=["x"])
    assert path.read_text() == '[{"image_id": 1}]\n'


def test_tables_that_are_not_of_predict_are_left_alone(tmp_path):
    (tmp_path / "predictions.json").write_text("[]")
    with pytest.raises(UserError, match=r"predictions\.json is there and not of predict; take another out="):
        Job(tmp_path).journal(["x"])
    with Job(tmp_path, overwrite=True).journal(["x"]):
        pass


def test_a_name_that_is_not_utf8_comes_back(tmp_path):
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    with Journal(tmp_path / "j", {}, files=[name]) as journal:
        journal.add(entry(name))
        journal.keep([name])
    (tmp_path / "j").read_text(encoding="utf-8")
    assert files(tmp_path / "j") == [(name, None, 1)]


def test_names_of_what_is_written(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"the user's")
    with Journal(tmp_path / "j", {}, files=["in/b.png"]) as journal:
        journal.add(entry("in/b.png", drawing="b.jpg"))
    with Journal(tmp_path / "j", {}, files=["a.png", "sub/b.png", "in/c.png"]) as journal:
        names = distinct_from_others(["a.jpg", "B.jpg", "c.jpg"], ["a.png", "sub/b.png", "in/c.png"], tmp_path, journal)
        assert names == ["a_2.jpg", "B_2.jpg", "c.jpg"]
        journal.record(VideoRecord("1/v.mp4", ("v.mp4", "v.txt")))
        assert distinct_stem("v", [".mp4", ".txt"], "1/v.mp4", tmp_path, journal) == "v"
        assert distinct_stem("v", [".mp4", ".txt"], "2/v.mp4", tmp_path, journal) == "v_2"
        (tmp_path / "w.txt").touch()
        assert distinct_stem("w", [".mp4", ".txt"], "w.mp4", tmp_path, journal) == "w_2"
    assert json.loads((tmp_path / "j").read_text().splitlines()[0]) == {"settings": {}}
