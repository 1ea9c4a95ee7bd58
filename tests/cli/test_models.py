"""``architecture.path`` and ``backbone=file`` among the overrides."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import effdet
from backbones.scaling import phi_spec
from effdet.cli.models import model_spec
from effdet.model import Architecture, write_model_file
from effdet.scaling import detector_phi
from tests.cli.test_config import prepared, refused


@pytest.fixture
def model_file(tmp_path):
    row = replace(detector_phi(-4), channels=24, repeats=2)
    architecture = Architecture.of_row(row, replace(phi_spec(-4), name="own"), name="small", image_size=(64, 64))
    return write_model_file(tmp_path / "a model, with=odd [name].json", architecture)


def spec_of(*overrides: str):
    return model_spec(prepared("train", *overrides), num_classes=3)


@pytest.mark.parametrize("task", ["detection", "segmentation", "driving"])
def test_a_file_brings_its_size_whatever_the_data(model_file, task):
    spec = spec_of(f"task={task}", f"architecture.path={model_file}", "data=streets")
    assert (spec.name, spec.preprocess.size) == ("small", (64, 64))


def test_overrides_change_a_files_model(model_file):
    path = f"architecture.path={model_file}"
    spec = spec_of(path, "neck.channels=16", "image_size=96", "head.detection.repeats=1", "backbone.drop_path=0.1")
    assert spec.neck.channels == 16 and spec.preprocess.size == (96, 96) and spec.backbone.drop_path == 0.1
    assert spec.heads["detection"].options["repeats"] == 1
    assert spec_of(path, "neck=fpn").neck.kind == "fpn"


def test_the_backbone_alone(model_file):
    spec = spec_of("backbone=file", f"backbone.path={model_file}", "image_size=128", "backbone.attention=eca")
    assert spec.backbone == replace(phi_spec(-4), name="own", attention="eca")
    assert spec.neck.channels == 64  # that of phi = 0
    assert spec_of("task=classification", "data=folder", "backbone=file", f"backbone.path={model_file}").neck is None


@pytest.mark.parametrize("other", ["model=tf_efficientdet_d0", "phi=1", "backbone=b1"])
def test_a_model_file_beside_another_choice(model_file, other):
    (line,) = refused("train", f"architecture.path={model_file}", other)
    assert "each chooses the model; give one of them" in line


def test_a_file_beats_an_experiments_model(model_file, own_files):
    directory = own_files({"experiment/small.yaml": "# @package _global_\nphi: -3\n"})
    config = prepared("train", "experiment=small", f"architecture.path={model_file}", config_dir=directory)
    assert model_spec(config, num_classes=3).name == "small"


def test_what_is_missing(tmp_path):
    (line,) = refused("train", f"architecture.path={tmp_path / 'no.json'}")
    assert "no such file" in line
    (line,) = refused("train", "backbone=file")
    assert "give backbone.path=FILE" in line


def test_a_run_outlives_its_model_file(model_file, tmp_path):
    for split in ("train", "val"):
        for name, colour in (("red", 200), ("dark", 20)):
            path = tmp_path / "set" / split / name / "0.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(np.full((20, 24, 3), colour, np.uint8)).save(path)
    overrides = ["task=classification", "data=folder", f"data.root={tmp_path / 'set'}", f"run_dir={tmp_path / 'run'}"]
    overrides += ["weights=none", "batch_size=2", "workers=0", "device=cpu", "logger=null", "progress=false"]
    overrides += ["preflight=false", "report=false"]
    effdet.train([*overrides, f"architecture.path={model_file}", "trainer.max_epochs=1"])
    model_file.unlink()
    spec = effdet.load(tmp_path / "run").spec
    assert spec.name == "small" and spec.preprocess.size == (64, 64)
    effdet.train([f"run_dir={tmp_path / 'run'}", "resume=auto", "trainer.max_epochs=2"])
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["top1"] >= 0
