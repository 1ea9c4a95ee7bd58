"""Nothing of the user's is replaced, whatever command writes; driven from the command line, files compared byte for byte."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from effdet.cli.app import main
from effdet.cli.config import Config
from effdet.cli.evaluate import refuse_masks
from effdet.cli.export import refuse_export
from heads.structures import UserError


def contents(directory):
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


@pytest.fixture
def mine(tmp_path):
    """A folder with files of the user's that have the names of results."""
    directory = tmp_path / "mine"
    directory.mkdir()
    names = ("compare.json", "doctor.json", "metrics.json", "annotations.json", "train-000000.tar", "train-000001.tar")
    for name in names:
        (directory / name).write_text(json.dumps({"mine": name}))
    return directory


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["compare", "first=a", "second=b"], "compare.json"),
        (["doctor", "data=coco", "data.root=DATA"], "doctor.json"),
        (["evaluate", "model=none.ckpt", "data=coco", "data.root=DATA"], "metrics.json"),
        (["scale", "phi=0", "out=OUT/annotations.json"], "annotations.json"),
        (["search", "data=coco", "data.root=DATA", "out=OUT/annotations.json"], "annotations.json"),
        (["shards", "data=coco", "data.root=DATA", "split=train"], "holds shards of split train"),
    ],
)
def test_a_file_that_the_command_did_not_write_stays(overrides, name, mine, small_coco, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = contents(mine)
    overrides = [override.replace("DATA", str(small_coco)).replace("OUT", str(mine)) for override in overrides]
    overrides += [] if any(override.startswith("out=") for override in overrides) else [f"out={mine}"]
    assert main(overrides) == 2
    text = capsys.readouterr().err
    assert name in text and str(mine) in text and len(text.strip().splitlines()) == 1
    assert contents(mine) == before


def test_what_a_command_wrote_is_replaced(tmp_path, small_coco, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main(["scale", "phi=0", "out=a/m.json"]) == 0
        assert (
            main(
                [
                    "doctor",
                    "data=coco",
                    f"data.root={small_coco}",
                    "out=d",
                    "doctor.fail_on=none",
                    "doctor.anchors=false",
                ]
            )
            == 0
        )


def test_shards_are_not_written_over_what_they_are_read_from(tmp_path, small_coco, capsys):
    shards = tmp_path / "shards"
    assert main(["shards", "data=coco", f"data.root={small_coco}", "split=val", f"out={shards}"]) == 0
    before = contents(shards)
    (tmp_path / "link").symlink_to(shards)
    for out in (shards, tmp_path / "link", shards / ".." / "shards"):
        overrides = ["shards", "data=shards", f"data.root={shards}", "split=val", f"out={out}", "overwrite=true"]
        assert main(overrides) == 2
        assert "holds the shards that would be read" in capsys.readouterr().err
    assert contents(shards) == before


def test_segmentation_map_do_not_go_where_masks_lie(tmp_path):
    directory = tmp_path / "class_maps"
    record = SimpleNamespace(image=tmp_path / "images" / "a.png", mask=directory / "city" / "a.png")
    refuse_masks(directory, SimpleNamespace(records=[record]), key="out=x")  # it is not there yet
    directory.mkdir()
    with pytest.raises(UserError, match=r"out=x: .*class_maps holds a\.png of the data; name another folder"):
        refuse_masks(directory, SimpleNamespace(records=[record]), key="out=x")


def test_files_beside_an_exported_one(tmp_path):
    config = Config({"model": str(tmp_path / "m.onnx"), "weights": None})
    (tmp_path / "m.onnx").write_bytes(b"a model")
    with pytest.raises(UserError, match=r"m\.onnx would be written over a file of the source"):
        refuse_export(config, tmp_path / "m.onnx", [])
    (tmp_path / "coco.json").write_text('{"images": []}')
    with pytest.raises(UserError, match=r"coco\.json is there already and is not the description of an exported file"):
        refuse_export(config, tmp_path / "coco.pte", [])
    (tmp_path / "coco.json").write_text('{"version": 1, "spec": {}}')
    refuse_export(config, tmp_path / "coco.pte", [])
    (tmp_path / "labels.bin").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"labels\.bin is there already"):
        refuse_export(config, tmp_path / "labels.xml", [])
    (tmp_path / "labels.xml").write_text('<?xml version="1.0"?>\n<net name="x">')
    refuse_export(config, tmp_path / "labels.xml", [])
    refuse_export(config, Path("nowhere") / "new.pt2", [])


def test_a_folder_of_predict_is_no_folder_of_evaluate(tmp_path, capsys):
    (tmp_path / "predictions.jsonl").write_text("{}\n")
    assert main(["evaluate", "model=none.ckpt", "data=streets", f"out={tmp_path}"]) == 2
    assert "holds results of predict; name another folder" in capsys.readouterr().err
    shutil.rmtree(tmp_path)
