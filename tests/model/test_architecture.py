"""Model files: round trip, every task from one file, the user's words, and what is refused."""

import json
from dataclasses import replace

import pytest
import torch

from backbones.scaling import phi_spec
from effdet.model import Architecture, build, read_model_file, spec_for, write_model_file
from effdet.scaling import detector_phi
from heads.structures import UserError

SMALL = replace(phi_spec(-4), name="own")


@pytest.fixture
def architecture() -> Architecture:
    row = replace(detector_phi(-4), channels=24, repeats=2, fusion="sum", size=128)
    made_by = {"how": "by hand", "phi": -4, "measured": [1.5, None]}
    return Architecture.of_row(row, SMALL, name="small", image_size=(64, 96), made_by=made_by)


def test_round_trip(architecture, tmp_path):
    path = write_model_file(tmp_path / "new" / "ü m.json", architecture)
    assert read_model_file(path) == architecture
    alone = Architecture("b", SMALL, (64, 64))
    assert read_model_file(write_model_file(path, alone)) == alone
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # nothing temporary is left


def test_a_side_may_be_one_number(architecture, tmp_path):
    path = write_model_file(tmp_path / "m.json", architecture)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"image_size": 64}))
    assert read_model_file(path).image_size == (64, 64)


@pytest.mark.parametrize("phi", [-2.5, 0.0, 1.4])
@pytest.mark.parametrize("task", ["detection", "segmentation", "driving"])
def test_a_phis_row_says_what_phi_says(task, phi):
    row = detector_phi(phi)
    found = spec_for(task=task, architecture=Architecture.of_row(row, phi_spec(phi)), num_classes=3)
    expected = spec_for(task=task, phi=phi, num_classes=3)
    assert found.replace(name="") == expected.replace(name="")


@pytest.mark.parametrize("task", ["detection", "segmentation", "driving", "classification", "embedding"])
@pytest.mark.parametrize("whole", [True, False])
def test_every_task_is_built_from_one_file(architecture, tmp_path, task, whole):
    if not whole:  # as an architecture search writes it: a backbone and a size
        architecture = replace(architecture, neck=None, head=None)
    read = read_model_file(write_model_file(tmp_path / "m.json", architecture))
    spec = spec_for(task=task, architecture=read, num_classes=5)
    assert spec.name == "small" and spec.backbone == SMALL and spec.preprocess.size == (64, 96)
    if spec.neck is not None and "detection" in spec.heads:
        assert spec.neck.channels == (24 if whole else 64)
        assert spec.heads["detection"].options["repeats"] == (2 if whole else 3)
    with torch.no_grad():
        outputs = build(spec).eval()(torch.rand(1, 3, *spec.preprocess.size))
    assert set(outputs) == set(spec.heads)
    assert type(spec).from_dict(json.loads(json.dumps(spec.to_dict()))) == spec  # what a checkpoint keeps


def test_the_necks_other_settings_are_kept(architecture):
    assert architecture.neck is not None
    neck = architecture.neck.replace(norm_eps=1e-5, separable=False, activation="relu6")
    found = spec_for(task="detection", architecture=replace(architecture, neck=neck)).neck
    assert found == neck


def test_the_users_overrides_win(architecture):
    spec = spec_for(
        task="detection", architecture=architecture, image_size=160, neck={"channels": 16}, backbone_options={"drop_path": 0.1},
        heads={"detection": {"repeats": 1}},
    )  # fmt: skip
    assert spec.preprocess.size == (160, 160) and spec.neck.channels == 16 and spec.backbone.drop_path == 0.1
    assert spec.heads["detection"].options["repeats"] == 1


def test_the_model_is_chosen_once(architecture):
    with pytest.raises(UserError, match=r"give one of backbone=, phi= and architecture\.path="):
        spec_for(task="detection", phi=0, architecture=architecture)
    with pytest.raises(UserError, match="fixes the backbone"):
        spec_for("tf_efficientdet_d0", architecture=architecture)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"format": 2}, "format 2, this version reads 1; update effdet"),
        ({"format": None}, "it is not a model file"),
        ({"neckk": 1}, "model\\.neckk is not a setting"),
        ({"backbone": {"name": "x", "wrong": 1}}, "backbone\\.wrong is not a setting"),
        ({"backbone": 3}, "object"),
        ({"neck": {"channels": 0}}, r"neck\.channels=0: must be int ≥ 1"),
        ({"head": {"depth": 1}}, "head\\.depth is not a setting"),
        ({"image_size": [64]}, r"image_size=\[64\] must be"),
        ({"image_size": 0}, "must be positive"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_file(architecture, tmp_path, change, text):
    path = write_model_file(tmp_path / "m.json", architecture)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=text) as caught:
        read_model_file(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"), [("{", "not JSON"), ("[]", "no JSON object"), ('{"format": 1, "name": "x"}', "lacks backbone")]
)
def test_other_files_are_refused(tmp_path, text, says):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(UserError, match=says):
        read_model_file(tmp_path / "m.json")


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no such model file"):
        read_model_file(tmp_path / "none.json")
