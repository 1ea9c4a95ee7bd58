"""Checkpoint files: whole or not at all, checked, plain."""

from __future__ import annotations

import errno
import io
import os
from collections import OrderedDict, defaultdict
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from effdet.files import remove_partial
from effdet.training import CheckpointError, newest_valid, read_checkpoint, valid, write_checkpoint
from effdet.training.checkpoints import plain


class Colour(Enum):
    RED = "red"


VALUES = {"weights": {"a": torch.arange(6.0).reshape(2, 3)}, "step": 3, "text": "ü", "list": [1, 2.5, None, True]}


def test_round_trip_without_running_code(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "deep" / "a.ckpt", VALUES)
    read = torch.load(path, weights_only=True)
    assert torch.equal(read["weights"]["a"], VALUES["weights"]["a"])
    assert read["list"] == VALUES["list"] and read["text"] == "ü"
    assert valid(path)
    assert [item.name for item in path.parent.iterdir()] == ["a.ckpt"]


def test_what_is_not_plain_is_made_plain(tmp_path: Path) -> None:
    value = {
        "path": Path("a/b"),
        "date": datetime(2020, 1, 2),
        "span": timedelta(minutes=2),
        "enum": Colour.RED,
        "number": np.float64(0.5),
        "array": np.arange(3),
        "order": OrderedDict(a=1),
        "default": defaultdict(list, b=[np.int32(4)]),
        "set": {5},
        "pair": (1, (2,)),
        "dtype": torch.float16,
    }
    read = read_checkpoint(write_checkpoint(tmp_path / "a.ckpt", value))
    assert read["path"] == str(Path("a/b")) and read["date"] == "2020-01-02T00:00:00" and read["span"] == 120.0
    assert read["enum"] == "red" and read["number"] == 0.5 and type(read["number"]) is float
    assert read["array"].tolist() == [0, 1, 2] and read["order"] == {"a": 1} and read["default"] == {"b": [4]}
    assert read["set"] == [5] and read["pair"] == (1, (2,)) and read["dtype"] == "torch.float16"


def test_what_can_not_be_made_plain_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"callbacks\.Mine\.thing is a builtins\.object"):
        plain({"callbacks": {"Mine": {"thing": object()}}})


def test_every_flipped_byte_of_a_tensor_is_noticed(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "a.ckpt", {"weights": torch.randn(1000)})
    data = bytearray(path.read_bytes())
    for place in np.linspace(len(data) // 3, len(data) * 0.6, 5).astype(int):
        corrupt = bytearray(data)
        corrupt[place] ^= 1
        path.write_bytes(corrupt)
        assert not valid(path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_a_corrupt_file_is_not_valid_and_can_not_be_read(share: float, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "a.ckpt", VALUES)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert not valid(path)
    with pytest.raises(CheckpointError, match="can't be read"):
        read_checkpoint(path)


def test_a_file_with_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, ("echo evil",)

    torch.save({"state_dict": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(CheckpointError, match="can't be read"):
        read_checkpoint(tmp_path / "evil.ckpt")
    with pytest.raises(CheckpointError, match="does not exist"):
        read_checkpoint(tmp_path / "none.ckpt")


def test_the_newest_valid_is_found(tmp_path: Path) -> None:
    directory = tmp_path / "checkpoints"
    assert newest_valid(tmp_path) is None
    for step in range(3):
        write_checkpoint(directory / "last.ckpt", {"step": step}, previous=True)
    assert newest_valid(tmp_path) == directory / "last.ckpt"
    (directory / "last.ckpt").write_bytes(b"corrupt")
    with pytest.warns(UserWarning, match=r"last\.ckpt is corrupt"):
        found = newest_valid(tmp_path)
    assert found is not None and found == directory / "last.ckpt.previous" and read_checkpoint(found)["step"] == 1
    # A kill between the two moves leaves only the previous one.
    (directory / "last.ckpt").unlink()
    assert newest_valid(tmp_path) == directory / "last.ckpt.previous"
    (directory / "last.ckpt.previous").write_bytes(b"")
    with pytest.warns(UserWarning), pytest.raises(CheckpointError, match="every checkpoint of this run is corrupt"):
        newest_valid(tmp_path)


class FullDisk(io.FileIO):
    room = 4096

    def write(self, data: Any) -> int:
        FullDisk.room -= len(data)
        if FullDisk.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


def test_a_full_disk_leaves_the_last_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_checkpoint(tmp_path / "last.ckpt", {"step": 1}, previous=True)
    monkeypatch.setattr(Path, "open", lambda self, mode="r", **_: FullDisk(str(self), mode))
    FullDisk.room = 4096
    with pytest.raises(CheckpointError, match=r"the disk is full.*last\.ckpt as it was is whole; free some space"):
        write_checkpoint(path, {"step": 2, "weights": torch.zeros(10_000)}, previous=True)
    monkeypatch.undo()
    assert read_checkpoint(path)["step"] == 1
    assert [item.name for item in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="could not be written"):
        write_checkpoint(tmp_path / "file" / "a.ckpt", {})


def test_what_killed_saves_left_is_swept(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "last.ckpt", {})
    (tmp_path / ".123-0a.part.ckpt").write_bytes(b"half")
    remove_partial(tmp_path)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]
    remove_partial(tmp_path / "nothing")
