"""File names are bytes: one that is not UTF-8 goes from the command line to every file that is written."""

import csv
import json
import os

import pytest
import torch

import effdet
from effdet.cli.app import main
from effdet.model import build, spec_for
from tests.data import readers

NAME = os.fsdecode(b"caf\xe9 [1] #2.png")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    effdet.save(build(spec_for(task="detection", phi=-4, num_classes=2, image_size=64)), path)
    return path


def test_predict(model, tmp_path, capfd):
    readers.files(tmp_path / "in", [f"a/{NAME}", f"b/{NAME}"])
    overrides = ["score_threshold=0", "max_detections=2", "device=cpu"]
    assert main(["predict", f"model={model}", f"source={tmp_path / 'in'}", f"out={tmp_path / 'out'}", *overrides]) == 0
    written = json.loads((tmp_path / "out/predictions.json").read_text("utf-8"))
    files = [str(tmp_path / "in" / directory / NAME) for directory in "ab"]
    assert [row["file_name"] for row in written["images"]] == files
    with (tmp_path / "out/predictions.csv").open(encoding="utf-8", newline="") as file:
        assert len({row["file"] for row in csv.DictReader(file)}) == 2
    stem = os.path.splitext(NAME)[0]
    assert {name for name in os.listdir(tmp_path / "out") if name.endswith(".jpg")} == {f"{stem}.jpg", f"{stem}_2.jpg"}
    assert "Traceback" not in capfd.readouterr().err


def test_doctor_and_its_repair(tmp_path, capfd):
    readers.yolo(tmp_path / "set", [f"a/{NAME}", f"b/{NAME}"])
    (tmp_path / "set/images/train/a" / NAME).write_bytes(b"no image")
    overrides = [f"data.root={tmp_path / 'set'}", f"out={tmp_path / 'out'}", "doctor.fix=true", "doctor.anchors=false"]
    assert main(["doctor", "data=yolo", *overrides]) == 1
    reported = json.loads((tmp_path / "out/doctor.json").read_text("utf-8"))
    assert reported["findings"][0]["file"] == str(tmp_path / "set/images/train/a" / NAME)
    assert "udce9" in (tmp_path / "out/doctor.html").read_text("utf-8")
    assert json.loads((tmp_path / "out/repaired/repairs.json").read_text()) == {"images left out: unusable": 1}
    assert (tmp_path / "out/repaired/images/train/b" / NAME).is_file()
    assert "udce9" in capfd.readouterr().out


def test_evaluate(model, tmp_path):
    readers.yolo(tmp_path / "set", [f"a/{NAME}", f"b/{NAME}"])
    (tmp_path / "set/data.yaml").write_text("val: images/train\nnames: [class_0, class_1]\n")
    overrides = [
        f"model={model}",
        "data=yolo",
        f"data.root={tmp_path / 'set'}",
        f"out={tmp_path / 'out'}",
        "device=cpu",
    ]
    assert main(["evaluate", *overrides, "workers=0"]) == 0
    (tmp_path / "out/report.html").read_text("utf-8")
    assert json.loads((tmp_path / "out/metrics.json").read_text("utf-8"))["images"] == 2


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("# @package _global_\n# Fußgänger\nseed: 7\n".encode("latin-1"), "byte 0xdf at position 24 is not UTF-8"),
        ("# @package _global_\nseed: 7\n".encode("utf-16"), "byte 0xff at position 0 is not UTF-8"),
        ("# @package _global_\nseed: 7\n".encode("utf-8-sig"), "its byte order mark hides the line @package"),
    ],
)
def test_a_configuration_file_that_hydra_cannot_read_is_one_line(tmp_path, capsys, content, text):
    path = tmp_path / "conf" / "experiment" / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_bytes("# @package _global_\n# Fußgänger\nseed: 7\n".encode())
    overrides = ["train", "--print", f"--config-dir={tmp_path / 'conf'}", "experiment=mine"]
    assert main(overrides) == 0 and "seed: 7" in capsys.readouterr().out
    path.write_bytes(content)
    assert main(overrides) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"mine.yaml: {text}" in line
