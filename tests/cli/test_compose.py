"""Composition: precedence, literal values, and everything that is wrong reported at once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effdet.cli.schema import choices, conf_dir
from tests.cli.conftest import composed, problems

OTHER_TASK = """# @package _global_
# A task for the tests, which prefers other data and another rate.
defaults:
  - override /data: coco
  - override /optimizer: adamw

task:
  name: other
  needs: [boxes]
  monitor: AP
optimizer:
  lr: 0.5
"""
EXPERIMENT = """# @package _global_
# An experiment for the tests.
defaults:
  - override /data: voc
  - override /backbone: b1

seed: 7
optimizer:
  lr: 0.25
"""


def test_the_default():
    config = composed("train")
    assert (config.task.name, config.data.name, config.backbone.name) == ("detection", "streets", "b0")
    assert config.choices["neck"] == "bifpn"
    assert config.choices["head"] == ["detection"]
    assert config.seed == 0


def check_choice(task: str, data: str, backbone: str) -> None:
    config = composed("train", f"task={task}", f"data={data}", f"backbone={backbone}")
    assert config.choices["task"] == task
    assert config.data.name == data
    assert backbone in (config.backbone.name, config.get("backbone.library"))  # timm's network is named beside it


@pytest.mark.parametrize("data", choices("data", conf_dir()))
@pytest.mark.parametrize("task", choices("task", conf_dir()))
def test_every_task_composes_with_every_data(task, data):
    check_choice(task, data, "b3")


@pytest.mark.parametrize("backbone", ["b0", "b7", "lite4", "v2_rw_t"])
def test_backbones_compose(backbone):
    check_choice("detection", "coco", backbone)


@pytest.mark.slow
@pytest.mark.parametrize("task", choices("task", conf_dir()))
def test_every_task_data_and_backbone_composes(task):
    for data in choices("data", conf_dir()):
        for backbone in choices("backbone", conf_dir()):
            check_choice(task, data, backbone)


@pytest.mark.parametrize("group", ["neck", "augment", "optimizer", "experiment"])
def test_every_other_choice_composes(group):
    for choice in choices(group, conf_dir()):
        assert composed("train", f"{group}={choice}").choices[group] == choice


class TestPrecedence:
    """Command line over experiment over task over the other groups."""

    @pytest.fixture
    def directory(self, own_files):
        return own_files({"task/other.yaml": OTHER_TASK, "experiment/mine.yaml": EXPERIMENT})

    def test_a_task_chooses(self, directory):
        config = composed("train", "task=other", config_dir=directory)
        assert (config.data.name, config.optimizer.name, config.optimizer.lr) == ("coco", "adamw", 0.5)

    @pytest.mark.parametrize("order", [1, -1])
    def test_an_override_beats_the_task(self, directory, order):
        overrides = ["task=other", "data=voc", "optimizer.lr=0.1"][::order]
        config = composed("train", *overrides, config_dir=directory)
        assert (config.data.name, config.optimizer.name, config.optimizer.lr) == ("voc", "adamw", 0.1)

    def test_an_experiment_beats_the_task(self, directory):
        config = composed("train", "task=other", "experiment=mine", config_dir=directory)
        assert (config.task.name, config.data.name, config.optimizer.lr) == ("other", "voc", 0.25)
        assert (config.optimizer.name, config.backbone.name, config.seed) == ("adamw", "b1", 7)

    def test_an_override_beats_the_experiment(self, directory):
        overrides = ["experiment=mine", "data=yolo", "backbone=lite0", "seed=3", "optimizer.lr=1"]
        config = composed("train", *overrides, config_dir=directory)
        assert (config.data.name, config.backbone.name, config.seed, config.optimizer.lr) == ("yolo", "lite0", 3, 1)

    def test_an_experiment_may_choose_the_task(self, own_files):
        text = "# @package _global_\ndefaults:\n  - override /task: other\n"
        directory = own_files({"task/other.yaml": OTHER_TASK, "experiment/e.yaml": text})
        assert composed("train", "experiment=e", config_dir=directory).data.name == "coco"

    def test_a_task_file_sets_nothing_that_the_primary_file_would_overrule(self):
        """train.yaml stands behind the task (``_self_``): such a value would be lost without an override."""
        from effdet.cli.schema import read_keys

        own = set(read_keys(conf_dir() / "train.yaml").keys)
        for path in choices("task", conf_dir()).values():
            assert not own & set(read_keys(path, "task").keys)


class TestLiteralValues:
    NASTY = (
        "/my data/set, 1",
        "/a=b",
        "/a[1]{2}(3)",
        '/it\'s "here"',
        "C:\\Users\\me\\data",
        "D:\\",
        "https://host:8080/a?b=c&d=${e}#f",
        "${oc.env:HOME}",
        "\\${x}",
        "/日本/straße",
        "/1,2",
        "a b",
        "  spaces  ",
        "[not a list",
        "100%",
        "@file",
    )

    @pytest.mark.parametrize("first", range(0, 16, 4))
    def test_paths_arrive_as_typed(self, first):
        keys = ("data.root", "data.train_annotations", "run_dir", "weights")
        values = self.NASTY[first : first + 4]
        config = composed("train", "data=coco", *map("=".join, zip(keys, values, strict=True)))
        assert tuple(config.get(key) for key in keys) == values

    @settings(max_examples=8, deadline=None)
    @given(st.text(alphabet=st.sampled_from("ab/\\'\"${}[](),=: ~#ü日"), min_size=1, max_size=12))
    def test_any_path_arrives(self, value):
        value = f"x{value}"  # not null, true, a number or the home folder
        assert composed("evaluate", f"out={value}").out == value

    def test_home_is_expanded(self, monkeypatch):
        monkeypatch.setenv("HOME", "/home/me")
        assert composed("train", "data=coco", "data.root=~/coco", "run_dir=~/r").data.root == "/home/me/coco"

    def test_numbers_stay_numbers(self):
        config = composed("train", "data=coco", "data.val_fraction=0.1", "data.root=null")
        assert config.data.val_fraction == 0.1
        assert config.data.root is None
        assert composed("train", "data.size=512").data.size == 512
        assert composed("train", "image_size=[256,512]").image_size == [256, 512]
        assert composed("train", "image_size=640").image_size == 640
        assert composed("train", "data=voc", "data.classes=[a,b c]").data.classes == ["a", "b c"]

    def test_text_that_looks_like_a_number_is_text_where_only_text_fits(self):
        assert composed("train", "run_dir=2024").run_dir == "2024"
        assert composed("evaluate", "out=true", "model=1e3").out == "true"

    @pytest.mark.parametrize("value", ["00:00:30:00", "null"])
    def test_trainer_arguments_need_no_plus(self, value):
        expected = None if value == "null" else value
        assert composed("train", f"trainer.max_time={value}").trainer.max_time == expected


class TestErrors:
    def test_all_problems_at_once(self):
        found = problems(
            "train",
            "backbon=b3",
            "data=cocoo",
            "max_images=x",
            "lr=0.1",
            "epochs=3",
            "device=gpu",
            "nonsense",
            "trainer.max_epoch=3",
            "score_threshold=1.5",
        )
        text = "\n".join(found)
        for expected in (
            "backbon: no such key; did you mean backbone?",
            "data=cocoo: no such choice; did you mean coco? (data: ",
            "max_images=x: must be int ≥ 1 | null",
            "lr: no such key; did you mean optimizer.lr?",
            "epochs: no such key; did you mean trainer.max_epochs?",
            "trainer.max_epoch: no such key; did you mean trainer.max_epochs?",
            "device=gpu: must be auto | cpu | cuda | mps; did you mean cpu?",
            "nonsense: not a key=value override",
            "score_threshold=1.5: must be float 0…1 | null",
        ):
            assert expected in text
        assert len(found) == 9
        assert not any("\n" in line for line in found)

    def test_a_key_of_another_choice(self):
        (line,) = problems("train", "data=coco", "data.size=512")
        assert "data=coco has no such key, data=streets has" in line

    def test_a_section_is_no_value(self):
        (line,) = problems("train", "evaluation=3")
        assert "holds several keys; name one of evaluation.every, evaluation.at_start, evaluation.backend" in line

    @pytest.mark.parametrize(
        "reported",
        [
            {
                "data=[coco,voc]": "one choice, not a list",
                "seed=1,2": "one value at a time",
                "image_size=[1": "could not be read",
                "overwrite=maybe": "must be bool",
                "task=detecton": "did you mean detection?",
                "head=[detecton]": "did you mean detection?",
                "optimizer.lrr=1": "did you mean optimizer.lr?",
            },
            {
                "data=": "data needs a choice",
                "seed=choice(1,2)": "one value at a time",
                "image_size=[1,2,3]": "[int, int]",
                "experiment=quikstart": "did you mean quickstart?",
            },
            {"data=null": "data needs a choice", "seed=true": "must be int", "image_size=2.5": "must be int"},
            {"data.rot=/x": "did you mean data.root?", "seed=null": "must be int"},
        ],
    )
    def test_one_line_each(self, reported):
        found = problems("train", *reported)
        assert len(found) == len(reported)
        for override, text in reported.items():
            assert any(line.startswith(override.partition("=")[0]) and text in line for line in found), override

    def test_an_experiments_misspelt_key(self, own_files):
        text = "# @package _global_\ndefaults:\n  - override /data: coco\ntraner:\n  max_epochs: 3\ndata:\n  rot: x\n"
        directory = own_files({"experiment/mine.yaml": text})
        found = problems("train", "experiment=mine", config_dir=directory)
        assert any("mine.yaml: traner.max_epochs: no such key; did you mean trainer.max_epochs?" in x for x in found)
        assert any("mine.yaml: data.rot: no such key; did you mean data.root?" in line for line in found)

    def test_an_experiments_wrong_kind(self, own_files):
        directory = own_files({"experiment/mine.yaml": "# @package _global_\nseed: many\n"})
        assert problems("train", "experiment=mine", config_dir=directory) == ["seed=many: must be int ≥ 0"]

    def test_an_experiment_that_sets_a_group_as_a_value(self, own_files):
        directory = own_files({"experiment/mine.yaml": "# @package _global_\ndata: coco\n"})
        found = problems("train", "experiment=mine", config_dir=directory)
        assert len(found) == 1

    def test_an_experiment_that_overrides_to_nothing(self, own_files):
        text = "# @package _global_\ndefaults:\n  - override /data: cocoo\n"
        directory = own_files({"experiment/mine.yaml": text})
        (line,) = problems("train", "experiment=mine", config_dir=directory)
        assert "cocoo" in line
        assert "\n" not in line

    def test_a_file_that_is_not_yaml(self, own_files):
        directory = own_files({"experiment/mine.yaml": "a: [1,\nb: 2"})
        found = problems("train", "experiment=mine", config_dir=directory)
        assert len(found) == 1
        assert "\n" not in found[0]


class TestOwnFiles:
    def test_a_data_set_of_ones_own(self, own_files):
        text = "name: coco\nlabels: [boxes]\nroot: /x\ntrain_images: ${data.root}/images\n"
        directory = own_files({"data/mine.yaml": text})
        config = composed("train", "data=mine", config_dir=directory)
        assert config.data.train_images == "/x/images"
        assert config.choices["data"] == "mine"

    def test_its_misspelt_key_is_reported(self, own_files):
        directory = own_files({"data/mine.yaml": "name: coco\nlabels: [boxes]\nroott: /x\n"})
        (line,) = problems("train", "data=mine", config_dir=directory)
        assert "mine.yaml: data.roott: no such key; did you mean data.root?" in line

    def test_a_name_of_ours_is_refused(self, own_files):
        directory = own_files({"data/coco.yaml": "name: coco\n"})
        (line,) = problems("train", "data=coco", config_dir=directory)
        assert "rename yours" in line

    def test_a_missing_folder(self, tmp_path):
        (line,) = problems("train", config_dir=tmp_path / "none")
        assert "no such folder" in line


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("backbone.name=convnext_tiny", "backbone.name=convnext_tiny: no such backbone"),
        ("backbone.name=lite00", "no such backbone; did you mean lite0?"),
        ("data.name=cocoo", "no such data; did you mean coco?"),
        ("task.name=depth", "task.name=depth: no such task"),
        ("optimizer.name=lion", "optimizer.name=lion: must be sgd | adamw | rmsprop"),
        ("optimizer.schedule=poly", "must be cosine | flat_cosine | constant | step"),
        ("head.detection.loss.matcher=sim", "must be iou | atss | tal | atss_tal | null"),
        ("head.detection.loss.box=diou", "did you mean giou?"),
        ("backbone.activation=swish", "must be silu | relu6"),
        ("backbone.attention=cbam", "must be se | eca | none | null"),
        ("neck.kind=nasfpn", "must be bifpn | fpn | panet | quad | null"),
        ("augment.policy=augmix", "must be randaugment | "),
        ("trainer.accelerator=gpus", "did you mean gpu?"),
    ],
)
def test_names_are_known_before_anything_is_imported(override, line):
    overrides = ["augment=randaugment"] if override.startswith("augment") else []
    (found,) = problems("train", *overrides, override)
    assert line in found


def test_a_name_of_another_choice_is_a_name():
    assert composed("train", "backbone.name=b3").backbone.name == "b3"
