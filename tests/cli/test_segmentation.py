"""Segmentation and driving from the command line, on a few small scenes in Cityscapes' form."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

import effdet
from effdet.cli.models import model_spec, semantic_inference, with_monitor
from effdet.cli.recipe import provisional
from effdet.cli.train import fit_settings
from tests.cli.conftest import composed, problems
from tests.cli.test_train import SMALL, metrics_of

ROAD, CAR, PERSON = 7, 26, 24


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Two images to train on and two to evaluate by: road below, a car that is an object, and a crowd of people."""
    root = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        images, truth = root / "leftImg8bit" / split / "town", root / "gtFine" / split / "town"
        images.mkdir(parents=True)
        truth.mkdir(parents=True)
        for number in range(2):
            name = f"town_00000{number}_000019"
            labels = np.zeros((64, 96), np.uint16)
            labels[32:] = ROAD
            labels[20:50, 10 + number : 50] = CAR
            labels[30:44, 70:80] = PERSON
            instances = labels.copy()
            instances[labels == CAR] = CAR * 1000
            image = rng.integers(0, 60, (64, 96, 3), np.uint8)
            image[..., 0] += (labels * 4).astype(np.uint8)
            Image.fromarray(image).save(images / f"{name}_leftImg8bit.png")
            Image.fromarray(labels.astype(np.uint8)).save(truth / f"{name}_gtFine_labelIds.png")
            Image.fromarray(instances).save(truth / f"{name}_gtFine_instanceIds.png")
    return root


@pytest.fixture(scope="module")
def driving(scenes, tmp_path_factory):
    overrides = ["task=driving", "data=cityscapes", f"data.root={scenes}", *SMALL, "trainer.max_epochs=1"]
    balance = ["task.balance.rule=uncertainty", "head.semantic.loss.class_weights=sqrt"]
    return effdet.train([*overrides, *balance, f"run_dir={tmp_path_factory.mktemp('runs') / 'driving'}"])


def test_one_model_is_evaluated_by_both_heads(driving):
    metrics = driving.metrics
    assert {"AP", "mIoU", "miIoU"} <= set(metrics) and 0 <= metrics["mIoU"] <= 1
    header, *rows = (driving.run_dir / "metrics.csv").read_text().splitlines()
    for column in ("detection/class", "detection/box", "semantic/cross_entropy", "detection/log_variance",
                   "semantic/log_variance", "val/mean_AP_mIoU"):  # fmt: skip
        assert column in header.split(",")
    values = dict(zip(header.split(","), rows[-1].split(","), strict=True))
    assert float(values["val/mean_AP_mIoU"]) == pytest.approx((max(metrics["AP"], 0) + metrics["mIoU"]) / 2, abs=1e-4)


def test_variances_are_learnt_averaged_and_kept(driving):
    checkpoint = torch.load(driving.run_dir / "checkpoints" / "last.ckpt", weights_only=True)
    raw, average = (checkpoint[key]["balance.log_variance.semantic"] for key in ("raw_state_dict", "state_dict"))
    assert raw.item() != 0 and average.item() != 0
    model = effdet.load(driving.run_dir)
    assert model.spec.balance.rule == "uncertainty" and "balance.log_variance.detection" in model.state_dict()


def test_class_weights_are_counted_and_kept(driving):
    model = effdet.load(driving.run_dir)
    weights = dict(
        zip(model.classes["semantic"].names, model.heads["semantic"].loss_settings.class_weights, strict=True)
    )
    assert weights["road"] < weights["car"] < weights["person"]
    pixels = {"road": 32 * 96 * 2 - 2 * (18 * 40 - 9) - 2 * 120, "person": 2 * 140}
    assert weights["person"] / weights["road"] == pytest.approx(math.sqrt(pixels["road"] / pixels["person"]), rel=0.03)


def test_evaluation_repeats_the_last_epochs(driving, tmp_path):
    again = effdet.evaluate(
        [f"model={driving.run_dir}/checkpoints/last.ckpt", "workers=0", f"out={tmp_path / 'again'}"]
    )
    assert metrics_of(tmp_path / "again") == pytest.approx(metrics_of(driving.run_dir), abs=1e-6)
    overrides = ["semantic.flip=true", "semantic.scales=[0.5,1.0]", "semantic.sliding=[64,64]", "image_size=[64,96]"]
    slow = effdet.evaluate([f"model={driving.run_dir}", *overrides, "workers=0", f"out={tmp_path / 'slow'}"])
    assert 0 <= slow.metrics["mIoU"] <= 1 and again.metrics["AP"] >= 0


def test_a_prediction_has_both_in_the_images_own_pixels(driving, scenes):
    predict = effdet.Predictor(driving.run_dir)
    path = next((scenes / "leftImg8bit" / "val").rglob("*.png"))
    found = predict(str(path))
    assert found.semantic is not None
    assert found.semantic.shape == (64, 96) and found.semantic.dtype == np.uint8
    names = found.classes["semantic"].names
    assert set(found.to_dict()["semantic"]) <= set(names)
    assert set(np.unique(found.semantic_ids())) <= set(found.classes["semantic"].ids)
    assert found.draw(score_threshold=0.0, legend=True).height > 64


def test_segmentation_alone(scenes, tmp_path):
    overrides = ["task=segmentation", "data=cityscapes", f"data.root={scenes}", *SMALL, "trainer.max_epochs=1"]
    losses = ["head.semantic.loss.dice=0.5", "head.semantic.loss.lovasz=0.5", "head.semantic.auxiliary.level=C4"]
    run = effdet.train([*overrides, *losses, f"run_dir={tmp_path / 'run'}"])
    assert run.run_dir is not None
    assert "AP" not in run.metrics and "mIoU" in run.metrics
    spec = json.loads(torch.load(run.run_dir / "checkpoints" / "last.ckpt", weights_only=True)["spec"])
    assert list(spec["heads"]) == ["semantic"] and spec["neck"]["outputs"] == ["P2"]


def test_designs_are_files():
    fine = model_spec(composed("train", "task=segmentation", "backbone=b0"))
    assert fine.neck.levels[0] == "P2" and fine.heads["semantic"].options["merge"] == "finest"
    light = model_spec(composed("train", "task=segmentation", "backbone=b0", "head=[semantic_light]"))
    assert light.neck.levels == ("P3", "P4", "P5", "P6", "P7", "P8", "P9")
    both = model_spec(composed("train", "task=driving", "backbone=b0"))
    assert list(both.heads) == ["detection", "semantic"] and both.neck.levels == light.neck.levels


def test_what_decides_the_best_is_reported_by_the_task(tmp_path):
    for task, metrics in {"driving": ("AP", "mIoU"), "segmentation": ("mIoU",)}.items():
        config = provisional(with_monitor(composed("train", f"task={task}")))
        assert fit_settings(config, tmp_path, "cpu").monitor == metrics


def test_keys_of_inference():
    how = semantic_inference(composed("evaluate", "model=x", "semantic.sliding=[512,1024]", "semantic.flip=true"))
    assert how.window == (512, 1024) and how.flip and not how.plain
    assert semantic_inference(composed("predict", "model=x", "source=y")).plain
    assert "semantic.overlap=2.0" in problems("evaluate", "model=x", "semantic.overlap=2.0")[0]
