"""``_target_`` in the configuration: where it may stand, and what may stand below it."""

from __future__ import annotations

import sys

import pytest

from effdet.cli.app import main
from effdet.cli.overrides import split_overrides
from effdet.cli.resume import inherit
from heads.errors import UserError
from tests.cli.conftest import composed, problems


def test_a_target_takes_keys_of_its_own_with_or_without_plus():
    config = composed(
        "train", "optimizer._target_=a.B", "+optimizer.eps=1e-3", "optimizer.nested.override=x, y", "optimizer.lr=1"
    )
    section = config.get("optimizer")
    assert section["_target_"] == "a.B" and section["eps"] == 1e-3 and section["nested"] == {"override": "x, y"}
    assert section["lr"] == 1 and section["base_batch_size"] == "auto" and section["name"] == "B"
    assert "momentum" not in section and "nesterov" not in section  # they are those of the default choice


def test_what_the_user_sets_stays_beside_a_target(own_files):
    assert composed("train", "optimizer._target_=a.B", "optimizer.momentum=0.5").get("optimizer.momentum") == 0.5
    directory = own_files(
        {"experiment/mine.yaml": "# @package _global_\noptimizer: {_target_: a.B, nesterov: true, foo: 1}\n"}
    )
    section = composed("train", "experiment=mine", config_dir=directory).get("optimizer")
    assert section["nesterov"] is True and section["foo"] == 1 and "momentum" not in section


def test_a_head_by_a_target_in_place_of_ours_keeps_none_of_our_keys():
    overrides = ("head.detection._target_=a.Head", "head.detection.width=8", "head.detection.anchors.scale=3.0")
    section = composed("train", *overrides).get("head.detection")
    assert section == {"_target_": "a.Head", "width": 8, "anchors": {"scale": 3.0}}
    part = composed("train", "head.detection.matcher._target_=a.Matcher").get("head.detection")
    assert part["matcher"] == {"_target_": "a.Matcher"} and {"repeats", "anchors", "loss"} <= set(part)


def test_a_data_set_of_the_users_own(own_files):
    overrides = ("data._target_=fish.lines.open_split", "data.file=~/a b.txt", "data.val_fraction=0.2")
    section = composed("train", *overrides).get("data")
    assert section["name"] == "lines" and not {"size", "seed", "labels", "default_epochs"} & set(section)
    assert not section["file"].startswith("~") and section["file"].endswith("a b.txt")
    directory = own_files({"data/mine.yaml": "_target_: fish.open_split\nlabels: [boxes]\ndeep: {er: [1, 2]}\n"})
    section = composed("train", "data=mine", "data.more=3", config_dir=directory).get("data")
    assert section == {
        "_target_": "fish.open_split", "labels": ["boxes"], "deep": {"er": [1, 2]}, "name": "mine", "more": 3
    }  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["neck._target_=a.B"], "neck._target_: no _target_ is read here; one fills data, optimizer"),
        (["head.detection.box_los._target_=a.B"], "head.NAME.matcher|class_loss|box_loss|kit; did you mean box_loss?"),
        (["+sed=1"], "+sed: no such key; did you mean seed?"),
        (["+optimizer.eps=1"], "a key is added only below a _target_ or in an open mapping"),
        (["optimizer.eps=1"], "optimizer.eps: no such key"),
        (["+seed=1"], "+seed=1: there is such a key already; write seed=1"),
        (["++seed=1"], "keys are neither removed nor forced; write seed=1"),
        (["optimizer._target_=a.B", "optimizer.lr=fast"], "optimizer.lr=fast: must be float"),
        (["optimizer._target_=a.B", "optimzer.lr=1"], "did you mean optimizer.lr?"),
    ],
)
def test_elsewhere_keys_are_as_strict_as_ever(overrides, line):
    assert line in "\n".join(problems("train", *overrides))


def test_a_file_without_a_target_adds_no_key(own_files):
    directory = own_files({"data/mine.yaml": "name: coco\nlabels: [boxes]\nmy_key: 1\n"})
    assert "my_key: no such key" in "\n".join(problems("train", "data=mine", config_dir=directory))


def run_folder(tmp_path, *overrides):
    directory = tmp_path / "run"
    (directory / "checkpoints").mkdir(parents=True)
    (directory / "checkpoints" / "last.ckpt").touch()
    config = composed("train", f"run_dir={directory}", *overrides)
    (directory / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
    return directory


def test_targets_of_a_run_are_trusted_only_when_the_user_says_so(tmp_path):
    directory = run_folder(tmp_path, "optimizer._target_=a.B", "optimizer.eps=1")
    with pytest.raises(UserError, match=r"run/config\.yaml: imports a\.B, .*trust=true"):
        inherit("train", split_overrides([f"resume={directory}"]))
    for override in ("trust=true", "optimizer._target_=a.B"):
        assert inherit("train", split_overrides([f"resume={directory}", override])).get("optimizer.eps") == 1
    with pytest.raises(UserError, match=r"imports a\.B"):
        inherit("train", split_overrides([f"resume={directory}", "optimizer._target_=a.C"]))


def test_a_measurement_takes_the_runs_own_data_set_if_trusted(tmp_path):
    directory = run_folder(tmp_path, "data._target_=a.b.open_split", "data.file=x", "data.labels=[boxes]")
    with pytest.raises(UserError, match=r"imports a\.b\.open_split"):
        inherit("evaluate", split_overrides([f"model={directory}"]))
    expected = {"name": "b", "_target_": "a.b.open_split", "file": "x", "labels": ["boxes"]}
    for override in ("trust=true", "data._target_=a.b.open_split"):
        section = inherit("evaluate", split_overrides([f"model={directory}", override])).get("data")
        assert section.items() >= expected.items() and "size" not in section


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["head.detection.class_loss._target_=nothere.Loss"], "_target_=nothere.Loss: there is no module nothere"),
        (["head.detection.matcher._target_=own_rules.Rising"], "own_rules has no Rising; did you mean RisingMatcher?"),
        (
            ["head.detection.matcher._target_=own_rules.RisingMatcher", "head.detection.matcher.lst=1"],
            "did you mean last?",
        ),
        (
            ["head.detection._target_=own_rules.Head", "head.detection.wide=1"],
            "takes no argument wide; did you mean width?",
        ),
        (
            ["head.detection._target_=own_rules.Head", "head.detection.kit._target_=own_rules.Kit"],
            "too many positional arguments",
        ),
        (["backbone._target_=own_rules.Net", "backbone.widht=1"], "takes no argument widht; did you mean width?"),
    ],
)
def test_targets_of_backbone_and_heads_are_checked_before_data_is_opened(
    overrides, line, tmp_path, monkeypatch, capsys
):
    (tmp_path / "own_rules.py").write_text(
        "class RisingMatcher:\n    def __init__(self, last=1): ...\n"
        "class Head:\n    def __init__(self, channels, num_classes, width=1): ...\n"
        "class Net:\n    def __init__(self, width=1): ...\n"
        "class Kit:\n    def __init__(self): ...\n"
    )
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert main(["train", "data=coco", "data.root=empty", "weights=none", *overrides]) == 2
    said = capsys.readouterr().err
    assert line in said and "annotations" not in said
    sys.modules.pop("own_rules", None)
