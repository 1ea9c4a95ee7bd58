"""What a run that goes on takes from its ``config.yaml``, and what `evaluate` takes."""

import pytest

from effdet.cli.app import COMMANDS, prepare
from effdet.cli.config import Config
from effdet.cli.models import with_monitor
from effdet.cli.overrides import ConfigError, split_overrides
from effdet.cli.recipe import provisional
from effdet.cli.resume import changed, continued, run_prefix
from effdet.cli.run import write_config
from effdet.training.resume import RULES, Rule, rule
from tests.cli.conftest import composed


@pytest.fixture
def run_of(tmp_path, monkeypatch):
    """A run folder whose configuration was composed from overrides."""
    monkeypatch.chdir(tmp_path)

    def write(*overrides: str) -> None:
        (tmp_path / "x" / "checkpoints").mkdir(parents=True)
        (tmp_path / "x" / "checkpoints" / "last.ckpt").touch()
        write_config(tmp_path / "x", with_monitor(provisional(composed("train", *overrides))).to_yaml())

    return write


def prepared(command: str, *overrides: str) -> Config:
    return prepare(COMMANDS[command], split_overrides(overrides))


@pytest.mark.parametrize("named", [["task=segmentation"], ["task=segmentation", "task.monitor=null"], []])
def test_the_metric_of_the_run_stays_where_the_task_is_named_again(run_of, named):
    """The run's file holds the metric that its heads have, the task's file null."""
    run_of("task=segmentation")
    assert prepared("train", *named, "resume=x").task.monitor == "mIoU"
    with pytest.raises(ConfigError, match="task.monitor=pixel_accuracy: the run has mIoU"):
        prepared("train", "task.monitor=pixel_accuracy", "resume=x")


@pytest.mark.parametrize("overrides", [["resume=x"], ["run_dir=x", "resume=auto"]])
def test_the_run_is_taken_as_it_was(run_of, tmp_path, overrides):
    run_of("data=coco", f"data.root={tmp_path}", "backbone=b3", "optimizer=adamw", "seed=5", "trainer.max_epochs=7")
    config = prepared("train", *overrides)
    assert (config.data.name, config.data.root, config.backbone.name) == ("coco", str(tmp_path), "b3")
    assert (config.optimizer.name, config.seed, config.trainer.max_epochs) == ("adamw", 5, 7)
    assert config.resume is not None


def test_overrides_win_where_they_may(run_of):
    run_of("trainer.max_epochs=7", "seed=5")
    config = prepared("train", "resume=x", "trainer.max_epochs=9")
    assert (config.trainer.max_epochs, config.seed) == (9, 5)


def test_other_data_or_another_model_are_listed(run_of, tmp_path):
    run_of("data=coco", f"data.root={tmp_path}", "backbone=b3")
    with pytest.raises(ConfigError) as caught:
        prepared("train", "resume=x", "backbone=b0", "data=voc", "neck.channels=64")
    text = str(caught.value)
    for line in (
        "backbone.name=b0: the run has b3",
        "data.name=voc: the run has coco",
        "neck.channels=64: the run has null",
    ):
        assert line in text


def test_the_same_overrides_again_are_no_difference(run_of, tmp_path):
    overrides = ["data=coco", f"data.root={tmp_path}", "backbone=b3", "phi=null", "run_dir=x", "resume=auto"]
    run_of(*overrides)
    assert prepared("train", *overrides).backbone.name == "b3"


def test_the_data_named_again_ask_for_no_other_number_of_epochs(run_of, tmp_path):
    """The default of ``trainer.max_epochs`` follows from the data (3 of streets, 50 of coco): it is not the user's wish."""
    data = ["data=coco", f"data.root={tmp_path}"]
    run_of(*data, "trainer.max_epochs=7")
    assert prepared("train", *data, "resume=x").trainer.max_epochs == 7
    assert prepared("train", *data, "resume=x", "trainer.max_epochs=9").trainer.max_epochs == 9


def test_evaluate_takes_the_runs_data(run_of, tmp_path):
    run_of("data=coco", f"data.root={tmp_path}", "data.val_fraction=0.25", "max_images=16", "seed=9")
    config = prepared("evaluate", "model=x")
    assert (config.data.name, config.data.root, config.data.val_fraction, config.max_images) == (
        "coco",
        str(tmp_path),
        0.25,
        16,
    )
    other = tmp_path / "other"
    other.mkdir()
    config = prepared("evaluate", "model=x/checkpoints/last.ckpt", "data=voc", f"data.root={other}")
    assert (config.data.name, config.data.root, config.max_images) == ("voc", str(other), None)


def test_evaluate_takes_single_overrides_over_the_runs(run_of, tmp_path):
    run_of("data=coco", f"data.root={tmp_path}/gone", "max_images=16")
    config = prepared("evaluate", "model=x", f"data.root={tmp_path}", "max_images=null")
    assert (config.data.name, config.data.root, config.max_images) == ("coco", str(tmp_path), None)


def test_a_folder_without_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x" / "checkpoints").mkdir(parents=True)
    (tmp_path / "x" / "checkpoints" / "last.ckpt").touch()
    with pytest.raises(ConfigError, match="no config.yaml"):
        prepared("train", "resume=x")


@pytest.mark.parametrize(
    ("overrides", "prefix"),
    [
        ([], "detection-streets-b0"),
        (["data=coco", "backbone=lite3"], "detection-coco-lite3"),
        (["phi=-2.5"], "detection-streets-phi-2.5"),
        (["model=tf_efficientdet_d1"], "detection-streets-tf_efficientdet_d1"),
    ],
)
def test_the_name_of_a_run(overrides, prefix):
    assert run_prefix(composed("train", *overrides)) == prefix


def test_yaml_round_trip():
    config = composed("train", "run_dir=${x} é", "data=coco", "data.root=C:\\a")
    again = Config.from_yaml(config.to_yaml())
    assert again.flat() == config.flat()


def test_a_configuration_does_not_change():
    config = composed("train")
    config.get("data")["name"] = "x"
    config.head.get("detection")["repeats"] = 9
    config.to_dict()["seed"] = 9
    assert (config.data.name, config.get("head.detection.repeats"), config.seed) == ("streets", None, 0)
    with pytest.raises(AttributeError, match="no key 'nothing'"):
        _ = config.nothing
    assert config.replacing({"seed": 3, "data.name": "y"}).data.name == "y"


PLAIN = composed("train")
"""Every key of a detector's training, with its default."""


def test_every_key_has_a_rule():
    sections = ("task=driving", "data=coco", "optimizer=adamw")
    keys = {key for section in sections for key in composed("train", section).flat()} | PLAIN.flat().keys()
    unnamed = [key for key in keys if not any(key == name or key.startswith(f"{name}.") for name in RULES)]
    assert unnamed == []
    known = {name for key in keys for name in (key, *(key[:at] for at, letter in enumerate(key) if letter == "."))}
    assert [name for name in RULES if name not in known] == []


@pytest.mark.parametrize("key", PLAIN.flat())
def test_another_value_counts_or_is_refused(key):
    value = "another value"
    saved = PLAIN.replacing({"trainer.min_epochs": 7})
    asked_for = PLAIN.replacing({key: value})
    if rule(key) is Rule.FIXED:
        with pytest.raises(ConfigError, match="the run to resume has other values") as caught:
            continued(asked_for, saved, {key})
        assert caught.value.problems[1].startswith(f"{key}={value}: the run has ")
        return
    config = continued(asked_for, saved, {key})
    assert config.get(key) == value
    assert key == "trainer.min_epochs" or config.trainer.min_epochs == 7
    lines = [line.partition(":")[0] for line in changed(config, saved)]
    assert lines == ([key] if rule(key) is Rule.COUNTS else [])


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("optimizer.lr=1.0", "optimizer.lr=1.0: the run has 0.002"),
        ("freeze=backbone", "freeze=backbone: the run has null"),
        ("weights=none", "weights=none: the run has auto-cached"),
        ("augment=strong", "augment.name=strong: the run has light"),
        ("trainer.limit_train_batches=0.5", "trainer.limit_train_batches=0.5: the run has 1.0"),
    ],
)
def test_what_every_step_depends_on_is_refused(override, line, run_of):
    run_of()
    with pytest.raises(ConfigError) as caught:
        prepared("train", "resume=x", override)
    assert line in caught.value.problems


def test_an_image_that_cannot_be_read_has_a_way_out(run_of, tmp_path):
    run_of("data=coco", f"data.root={tmp_path}")
    assert prepared("train", "resume=x", "data.unreadable=warn").data.unreadable == "warn"
