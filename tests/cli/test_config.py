"""Combinations that make no sense."""

import pytest

from effdet.cli.app import COMMANDS, prepare
from effdet.cli.config import Config
from effdet.cli.overrides import ConfigError, split_overrides


def prepared(command: str, *overrides: str, config_dir=None) -> Config:
    flags = [] if config_dir is None else ["--config-dir", str(config_dir)]
    return prepare(COMMANDS[command], split_overrides([*flags, *overrides]))


def refused(command: str, *overrides: str, config_dir=None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        prepared(command, *overrides, config_dir=config_dir)
    return list(caught.value.problems)


def test_data_without_the_tasks_labels(own_files):
    directory = own_files({"data/images.yaml": "name: coco\nlabels: [category]\nroot: null\n"})
    (line,) = refused("train", "data=images", config_dir=directory)
    assert line == (
        "task=detection data=images: the task needs boxes, and this data labels category; "
        "choose another task or another data set"
    )


@pytest.mark.parametrize(
    "overrides",
    [["phi=1", "backbone=b3"], ["model=tf_efficientdet_d0", "backbone=b3"], ["model=tf_efficientdet_d0", "phi=1"]],
)
def test_the_model_is_chosen_once(overrides):
    (line,) = refused("train", *overrides)
    assert "each chooses the model; give one of them" in line
    assert all(override in line for override in overrides)


def test_an_overrides_model_beats_the_experiments(own_files):
    directory = own_files({"experiment/small.yaml": "# @package _global_\nphi: -3\n"})
    config = prepared("train", "experiment=small", "backbone=b1", config_dir=directory)
    assert config.phi is None
    assert config.backbone.name == "b1"
    config = prepared("train", "experiment=small", "model=tf_efficientdet_d0", config_dir=directory)
    assert (config.phi, config.model) == (None, "tf_efficientdet_d0")
    assert prepared("train", "experiment=small", config_dir=directory).phi == -3


@pytest.mark.parametrize("size", ["0", "-3", "16", "[512,8]", "100000"])
def test_absurd_sizes(size):
    (line,) = refused("train", f"image_size={size}")
    assert line.startswith(f"image_size={size}: a side ")


@pytest.mark.parametrize("size", ["32", "333", "[257,641]"])
def test_odd_sizes_are_fine(size):
    prepared("train", f"image_size={size}")


def test_missing_paths_are_all_named(tmp_path):
    found = refused("train", "data=coco", f"data.root={tmp_path}/no", f"data.val_images={tmp_path}/none")
    assert len(found) == 2
    assert all("no such file or folder" in line and f"({tmp_path} is there)" in line for line in found)


def test_what_must_be_given():
    assert "model=…: must be given" in refused("evaluate")[0]
    assert [line.partition("=")[0] for line in refused("predict")] == ["model", "source"]


def test_one_key_chooses_the_canvas():
    overrides = ["augment.multi_scale=[0.75,1.25]", "progressive.size=128"]
    (line,) = refused("train", *overrides, "progressive.stages=2")
    assert line == "augment.multi_scale=[0.75, 1.25] progressive.size=128: both choose the canvas; give one of them"
    prepared("train", *overrides)


def test_a_batch_of_one_has_no_partners():
    overrides = ["augment.partners=batch", "batch_size=1"]
    (line,) = refused("train", *overrides)
    assert line.startswith("augment.partners=batch batch_size=1: a batch of one image has no partners; take a batch of")
    prepared("train", *overrides, "augment=light")  # draws none
    prepared("train", "augment.partners=batch", "batch_size=2")
