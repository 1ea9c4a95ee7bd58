"""conf/ against the packages that read it: every key is taken, and every choice builds."""

import inspect
from dataclasses import fields

import pytest
from lightning.pytorch import Trainer

from backbones import list_names
from backbones.scaling import architecture, backbone_spec
from effdet.cli.config import check
from effdet.cli.models import input_size, model_spec
from effdet.cli.overrides import split_overrides
from effdet.cli.recipe import provisional
from effdet.cli.schema import BACKBONES, choices, conf_dir, read_keys
from effdet.data import OPENERS, AugmentSpec, DataSpec
from effdet.model import ModelSpec
from effdet.necks import NeckSpec
from effdet.scaling import row_for_backbone
from effdet.training import FitSettings
from effdet.training.settings import OptimizerSettings
from heads.detection import AnchorSpec, DetectionLoss, PostProcess
from tests.cli.conftest import composed


def names(path, group: str) -> set[str]:
    """The keys of a file, without the group's own name."""
    return {name.partition(".")[2] for name in read_keys(path, group).keys}


def of(kind: type) -> set[str]:
    return {field.name for field in fields(kind)}


def spec_of(*overrides: str) -> ModelSpec:
    return model_spec(composed("train", *overrides), num_classes=3)


def test_every_backbone_file_is_complete_and_known():
    files = choices("backbone", conf_dir())
    expected = names(files["b0"], "backbone")
    assert names(files.pop("file"), "backbone") == expected | {"path"}  # of a model file
    assert names(files.pop("timm"), "backbone") == {"library", "name", "drop_path", "options"}
    for name, path in files.items():
        assert names(path, "backbone") == expected
        assert read_keys(path, "backbone").keys["backbone.name"].default == name
        assert expected - {"name"} <= of(type(backbone_spec(name)))


def test_every_neck_file_is_known():
    for name, path in choices("neck", conf_dir()).items():
        assert names(path, "neck") <= of(NeckSpec)
        neck = spec_of(f"neck={name}").neck
        assert neck is not None
        assert neck.kind == name


@pytest.mark.parametrize("group", ["optimizer", "augment"])
def test_what_the_recipe_fills_has_every_key_of_the_group(group):
    files = choices(group, conf_dir())
    assert names(files.pop("auto"), group) == set().union(*(names(path, group) for path in files.values())) | {
        key for key in ("nesterov",) if group == "optimizer"
    }


def test_the_detection_heads_keys_are_the_heads():
    keys = {name.removeprefix("detection.") for name in names(choices("head", conf_dir())["detection"], "head")}
    for part, kind in (("anchors", AnchorSpec), ("loss", DetectionLoss), ("postprocess", PostProcess)):
        found = {key.partition(".")[2] for key in keys if key.startswith(f"{part}.")}
        assert found
        assert found <= of(kind)


def test_the_data_files_keys_are_read():
    beside = {"labels", "unreadable", "repeat_threshold", "default_epochs", "unlabelled", "unlabelled_ratio"}
    for name, path in choices("data", conf_dir()).items():
        assert name in OPENERS
        assert {key.removeprefix("boxes.").removeprefix("masks.") for key in names(path, "data")} - beside <= of(
            DataSpec
        )


def test_the_optimizers_and_augmentations_keys_are_read():
    for path in choices("optimizer", conf_dir()).values():
        assert names(path, "optimizer") <= of(OptimizerSettings)
    for path in choices("augment", conf_dir()).values():
        assert names(path, "augment") <= of(AugmentSpec)


def test_every_argument_of_the_trainer_can_be_set():
    known = names(choices("trainer", conf_dir())["default"], "trainer")
    assert known == set(inspect.signature(Trainer.__init__).parameters) - {"self"}


def test_the_training_keys_are_read(tmp_path):
    settings = FitSettings.of(
        provisional(composed("train", "ema=0.99", "freeze=[backbone]", "seed=3")).to_dict(), tmp_path
    )
    assert (settings.ema.decay, settings.freeze, settings.seed) == (0.99, ("backbone",), 3)
    assert FitSettings.of(provisional(composed("train", "ema=false", "logger=null")).to_dict(), tmp_path).loggers == ()


@pytest.mark.parametrize("name", choices("experiment", conf_dir()))
def test_experiments_open_with_their_command_and_their_result(name):
    path = choices("experiment", conf_dir())[name]
    text = path.read_text()
    head = text.partition("defaults:")[0]
    assert f"python scripts/train.py experiment={name}" in head
    assert "measured" in head or "not run" in head
    overrides = [f"experiment={name}"]
    config = composed("train", *overrides)
    if config.data.name == "streets":
        check("train", config, split_overrides(overrides))


def test_compound_scaling_follows_the_backbone():
    spec = spec_of("backbone=b3", "data=coco")
    assert spec.neck is not None
    assert (spec.neck.channels, spec.neck.repeats) == (160, 6)
    assert spec.heads["detection"].options["repeats"] == 4
    assert spec.preprocess.size == (896, 896)


def test_every_part_can_be_overridden():
    spec = spec_of(
        "backbone=b3",
        "backbone.attention=eca",
        "neck.channels=64",
        "neck.fusion=softmax",
        "head.detection.repeats=2",
        "head.detection.loss.box=ciou",
        "head.detection.anchors.scale=3",
        "score_threshold=0.05",
        "max_detections=50",
        "image_size=[256,512]",
    )
    assert spec.backbone.attention == "eca"
    assert spec.neck is not None
    assert (spec.neck.channels, spec.neck.repeats, spec.neck.fusion) == (64, 6, "softmax")
    options = spec.heads["detection"].options
    assert options["repeats"] == 2
    assert options["loss"]["box"] == "ciou"
    assert options["anchors"]["scale"] == 3
    assert options["postprocess"] == {"score_threshold": 0.05, "max_detections": 50}
    assert spec.preprocess.size == (256, 512)


def test_phi_scales_everything():
    small, large = spec_of("phi=-2", "data=coco"), spec_of("phi=2.5", "data=coco")
    assert small.neck is not None
    assert large.neck is not None
    assert small.neck.channels < large.neck.channels
    assert small.preprocess.size[0] < large.preprocess.size[0]


def test_a_published_model_keeps_its_own_neck():
    spec = spec_of("model=efficientdet_q0")
    assert spec.neck is not None
    assert spec.neck.kind == "quad"


def test_streets_brings_its_canvas():
    assert input_size(composed("train")) == 256
    assert input_size(composed("train", "data.size=512")) == 512
    assert input_size(composed("train", "image_size=320")) == 320
    assert input_size(composed("train", "data=coco")) is None


def test_the_backbones_without_a_file_are_those_of_the_scaling_tables():
    assert set(BACKBONES) == {name for name in list_names() if architecture(name) == name}
    for name, (_, detector) in BACKBONES.items():
        row = row_for_backbone(backbone_spec(name).name)
        assert detector.lower().replace("-", "_") == row.name.removeprefix("tf_")
