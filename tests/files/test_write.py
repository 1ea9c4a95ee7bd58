"""Writing: whole or not at all, with the modes that were, never over what is read."""

import errno
import json
import os
import re
import stat
from pathlib import Path

import pytest

from effdet.files import making_folder, refuse_overwriting, replacing, scratch_folder, write_bytes, write_text
from heads.structures import UserError


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as partial:
        assert partial.suffix == ".txt" and partial.parent == tmp_path and partial.name.startswith(".")
        partial.write_text("half")
        raise RuntimeError
    assert os.listdir(tmp_path) == ["a.txt"] and path.read_text() == "old"


def test_modes_are_kept_and_new_files_follow_the_umask(tmp_path):
    path = tmp_path / "sub" / "a.txt"
    before = os.umask(0o027)
    try:
        write_text(path, "one")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    write_text(path, "two")
    assert stat.S_IMODE(path.stat().st_mode) == 0o604 and path.read_text() == "two"


def test_the_content_is_on_the_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(os, "fsync", lambda handle: order.append("fsync"))
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda *names: (order.append("replace"), replace(*names)))
    write_bytes(tmp_path / "a", b"x")
    assert order == ["fsync", "replace", "fsync"]


def test_a_disk_that_fails_is_an_error_and_a_system_without_fsync_is_none(tmp_path, monkeypatch):
    def fsync(number):
        def fail(handle):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fail)

    write_text(tmp_path / "a", "old")
    fsync(errno.EIO)
    with pytest.raises(OSError, match="rror"):
        write_text(tmp_path / "a", "new")
    assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "old"
    fsync(errno.EINVAL)
    write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"


def test_what_is_replaced_is_kept_under_another_name(tmp_path):
    path, previous = tmp_path / "a", tmp_path / "a.previous"
    for content in ("1", "2", "3"):
        with replacing(path, previous=previous) as partial:
            partial.write_text(content)
    assert path.read_text() == "3" and previous.read_text() == "2" and len(os.listdir(tmp_path)) == 2


def test_a_folder_is_complete_or_not_there(tmp_path):
    path = tmp_path / "set"
    with pytest.raises(RuntimeError), making_folder(path) as draft:
        (draft / "half").write_text("")
        raise RuntimeError
    assert os.listdir(tmp_path) == []
    (tmp_path / ".set.part").mkdir()
    (tmp_path / ".set.part" / "left by a killed process").write_text("")
    path.mkdir()
    with making_folder(path) as draft:
        (draft / "a").write_text("")
    assert os.listdir(tmp_path) == ["set"] and os.listdir(path) == ["a"]
    with pytest.raises(OSError), making_folder(path) as draft:  # nothing that is there is removed
        (draft / "b").write_text("")
    assert os.listdir(tmp_path) == ["set"] and os.listdir(path) == ["a"]


def test_a_scratch_folder_goes_whatever_happens(tmp_path):
    with pytest.raises(RuntimeError), scratch_folder(tmp_path / "new") as directory:
        (directory / "sub").mkdir()
        raise RuntimeError
    assert os.listdir(tmp_path / "new") == []


def test_files_are_replaced_in_one_place_only():
    root = Path(__file__).resolve().parents[2]
    found = {
        path.relative_to(root).as_posix()
        for package in ("effdet", "heads", "backbones")
        for path in (root / package).rglob("*.py")
        if re.search(r"os\.(replace|rename|fsync|chmod)\(|\btempfile\b|\.rename\(|\.replace\((self\.)?_?(path|target|folder)\)",
                     path.read_text("utf-8"))
    }  # fmt: skip
    assert found == {"effdet/files/write.py"}


def test_what_a_link_points_to_is_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.txt").write_text("old")
    os.symlink(tmp_path / "real" / "a.txt", tmp_path / "link.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink() and (tmp_path / "real" / "a.txt").read_text() == "new"


def test_long_names(tmp_path):
    write_text(tmp_path / f"{'x' * 250}.txt", "x")


def test_names_that_are_not_utf8_in_text_and_json(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    write_text(tmp_path / "a.json", json.dumps({"file": name}, ensure_ascii=False))
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"file": name}


@pytest.mark.parametrize("target", ["a.jpg", "sub/../a.jpg", "link.jpg", "hard.jpg"])
def test_a_source_is_never_written_over(tmp_path, target):
    source = tmp_path / "a.jpg"
    source.write_bytes(b"x")
    (tmp_path / "sub").mkdir()
    os.symlink(source, tmp_path / "link.jpg")
    os.link(source, tmp_path / "hard.jpg")
    with pytest.raises(UserError, match="out=DIR: .*written over"):
        refuse_overwriting([tmp_path / "new.jpg", tmp_path / target], [source], key="out=DIR")
    refuse_overwriting([tmp_path / "new.jpg"], [source], key="out=DIR")
