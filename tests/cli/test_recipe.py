"""recipe=auto from the command line: what it fills, what it leaves, what it says."""

import csv

import numpy as np
import pytest
import yaml
from PIL import Image

import effdet
from effdet.cli import app
from effdet.cli.models import model_spec
from effdet.cli.recipe import block, filled, provisional, resumed, with_recipe
from effdet.training.recipe import Facts, auto
from tests.cli.conftest import composed
from tests.cli.test_train import SMALL

FREE = [
    override for override in SMALL if not override.startswith(("optimizer", "augment", "ema", "batch_size", "freeze"))
]


def test_no_auto_of_the_recipe_is_left():
    for recipe in ("auto", "paper"):
        config = provisional(composed("train", f"recipe={recipe}", "data=coco"))
        left = {key for key, value in config.flat().items() if value == "auto"}
        assert left - {"recipe"} == {
            "trainer.accelerator", "trainer.devices", "trainer.strategy", "batch_size", "device", "evaluation.at_start",
            *(["data.repeat_threshold"] if recipe == "auto" else []),
        }  # fmt: skip


def test_the_papers_recipe_is_that_of_the_files():
    found = provisional(composed("train", "recipe=paper")).to_dict()
    for group, name in (("optimizer", "sgd"), ("augment", "default")):
        expected = composed("train", f"{group}={name}").get(group)
        assert {key: found[group][key] for key in expected} == expected
    whole = provisional(composed("train", "recipe=paper", "task=classification", "data=cifar10"))
    assert found["ema"] == 0.9998 and found["freeze"] is None and found["trainer"]["max_epochs"] == 3  # of streets
    assert whole.get("trainer.max_epochs") == 10


def test_a_key_that_is_set_leaves_the_others_to_the_recipe():
    facts = Facts(images=200, weights="backbone")
    config, chosen = with_recipe(composed("train", "optimizer.lr=0.5", "augment.hflip=0", "ema=false"), facts)
    text = block("auto", facts, chosen)
    assert (config.optimizer.lr, config.augment.hflip, config.ema) == (0.5, 0, False)
    assert config.optimizer.name == "adamw" and config.optimizer.weight_decay == 0.02
    assert "optimizer=adamw" in text and "optimizer.lr" not in text and "ema=" not in text
    assert text.split("\n")[0] == "recipe=auto: detection, 200 training images, weights of a backbone"


@pytest.mark.parametrize("overrides", [["optimizer=sgd"], ["optimizer.name=sgd"]])
def test_another_optimiser_has_the_values_of_its_file(overrides):
    config, used = filled(composed("train", *overrides), auto(Facts(weights="model")))
    assert config.get("optimizer") | {"betas": None} == composed("train", "optimizer=sgd").get("optimizer") | {
        "betas": None
    }
    assert not [key for key in used if key.startswith("optimizer")]
    assert used["freeze"].value == ["bn"]


def test_a_warm_up_in_epochs_is_not_overridden_by_one_in_steps():
    config, used = filled(composed("train", "optimizer.warmup_epochs=2"), auto(Facts()))
    assert (config.optimizer.warmup_epochs, config.optimizer.warmup_steps) == (2, None)
    assert "optimizer.warmup_steps" not in used
    assert filled(composed("train"), auto(Facts()))[0].optimizer.warmup_steps > 0


def test_heads_take_the_recipe_where_they_are_null():
    config, _ = filled(composed("train", "data=coco", "head.detection.loss.classes=varifocal"), auto(Facts()))
    head = model_spec(config, num_classes=3).heads["detection"].options
    assert head["loss"] == {
        "matcher": "atss_tal", "tal_smallest": 16.0, "classes": "varifocal", "box": "giou", "box_by_score": True,
        "normalizer": "score",
    }  # fmt: skip
    assert (head["anchors"]["scales_per_octave"], head["anchors"]["aspects"]) == (1, [[1.0, 1.0]])


def test_a_resume_takes_nothing_from_the_recipe():
    config = resumed(composed("train", "augment=auto"))
    assert config.augment.mosaic == config.augment.hflip == 0
    assert config.get("head.detection.loss.matcher") is None


def test_a_training_says_what_was_chosen_and_keeps_it(small_coco, tmp_path, capsys):
    run = tmp_path / "run"
    words = [
        "train",
        "data=coco",
        f"data.root={small_coco}",
        *FREE,
        f"run_dir={run}",
        "trainer.max_epochs=2",
        "report=false",
    ]
    assert app.main(words) == 0
    said = capsys.readouterr().out
    assert "recipe=auto: detection, 4 training images, random weights\n  batch_limit=4 " in said
    assert "head.detection.loss.matcher=atss " in said
    kept = yaml.safe_load((run / "config.yaml").read_text())
    assert kept["optimizer"]["name"] == "adamw" and kept["freeze"] is None
    assert kept["head"]["detection"]["loss"]["matcher"] == "atss"
    assert "auto" not in [*kept["optimizer"].values(), *kept["augment"].values(), kept["ema"], kept["batch_limit"]]
    # The same words again, with more epochs: the recipe of the run holds, and is not printed again.
    more = [
        *words[:-2],
        "trainer.max_epochs=3",
        "report=false",
        "resume=auto",
        "optimizer=auto",
        "freeze=auto",
        "head=[detection]",
    ]
    assert app.main(more) == 0
    said = capsys.readouterr().out
    assert "recipe=auto" not in said and "trainer.max_epochs: 2 -> 3" in said
    with (run / "metrics.csv").open(newline="") as file:
        assert int(list(csv.DictReader(file))[-1]["step"]) == 3


def test_a_segmenter_takes_the_images_own_size(tmp_path, capsys):
    root, run = tmp_path / "set", tmp_path / "run"
    for split in ("train", "val"):
        for folder, channels in (("images", (3,)), ("masks", ())):
            (root / folder / split).mkdir(parents=True)
            for number in range(2):
                pixels = np.zeros((48, 66, *channels), np.uint8)
                pixels[:, 30:] = 250 if channels else 1
                Image.fromarray(pixels).save(root / folder / split / f"{number}.png")
    words = [
        "train", "task=segmentation", "data=masks", f"data.root={root}", "data.classes=[ground,sky]", "phi=-4", "weights=none",
        f"run_dir={run}", "trainer.max_epochs=1", "report=false", "workers=0", "logger=null", "progress=false", "device=cpu",
    ]  # fmt: skip
    assert app.main(words) == 0
    said = capsys.readouterr().out
    assert "recipe=auto: image_size=[48,66], the images' median size" in said and "input 48×66" in said
    assert (
        "backbone.drop_path=0 " in said
        and "head.semantic.loss.class_weights=sqrt " in said
        and "loss.lovasz=0.5" in said
    )
    kept = yaml.safe_load((run / "config.yaml").read_text())
    assert kept["image_size"] == [48, 66] and kept["backbone"]["drop_path"] == 0
    assert effdet.load(run / "checkpoints" / "last.ckpt").spec.backbone.drop_path == 0
