"""task=classification, end to end, on eight images."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import effdet
import effdet.training
from effdet.cli.config import check
from effdet.cli.overrides import ConfigError, split_overrides
from tests.cli.conftest import composed

WORDS = [
    *("task=classification", "phi=-4", "image_size=64", "weights=none", "batch_size=2", "workers=0", "device=cpu"),
    *("logger=null", "progress=false", "freeze_epochs=1", "progressive.stages=2", "progressive.size=32"),
    *("augment=shift_flip", "augment.mixup=0.2", "augment.cutmix=1.0", "augment.policy=randaugment"),
    *("head.classification.label_smoothing=0.1", "optimizer.layer_decay=0.8", "preprocess.resize=stretch"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name, colour in (("red", (200, 0, 0)), ("blue", (0, 0, 200))):
            for index in range(2):
                pixels = (rng.integers(0, 50, (20, 24, 3)) + colour).astype(np.uint8)
                path = root / "set" / split / name / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    overrides = ["data=folder", f"data.root={root / 'set'}", f"run_dir={root / 'run'}", "trainer.max_epochs=2", *WORDS]
    run = effdet.train(overrides)
    assert run.run_dir == root / "run"
    return root / "run"


def test_a_training_gives_accuracy_confusion_and_calibration(trained):
    metrics = json.loads((trained / "metrics.json").read_text())
    assert {"top1", "top5", "ECE", "accuracy", "precision", "class_confusion", "calibration"} <= metrics.keys()
    assert np.sum(metrics["class_confusion"]) == 4
    model = effdet.load(trained)
    assert model.classes["classification"].names == ("blue", "red")
    assert (model.preprocess.size, model.preprocess.resize) == ((64, 64), "stretch")
    assert (trained / "train_batch.jpg").is_file() and (trained / "predictions.jpg").is_file()


def test_the_backbone_trains_once_its_epoch_of_heads_is_over(trained):
    """Two epochs with freeze_epochs=1: what the file holds of the backbone is of the second, its statistics too."""
    saved = effdet.training.read_checkpoint(trained / "checkpoints" / "last.ckpt")["raw_state_dict"]
    means = [value for name, value in saved.items() if name.startswith("backbone.") and name.endswith("running_mean")]
    counts = {int(value) for name, value in saved.items() if name.startswith("backbone.") and "num_batches" in name}
    assert means and all(float(value.abs().max()) > 0 for value in means)
    assert counts == {2}, "batches of the second epoch"


def test_evaluate_agrees_and_a_run_goes_on_by_its_folder_alone(trained):
    last = trained / "checkpoints" / "last.ckpt"
    again = effdet.evaluate([f"model={last}", "split=val", "device=cpu", "workers=0"])
    metrics = json.loads((trained / "metrics.json").read_text())
    assert again.metrics["top1"] == metrics["top1"]
    assert again.metrics["ECE"] == pytest.approx(metrics["ECE"], abs=1e-6)
    before = yaml.safe_load((trained / "config.yaml").read_text())
    effdet.train([f"run_dir={trained}", "resume=auto"])
    after = yaml.safe_load((trained / "config.yaml").read_text())
    assert after | {"resume": None} == before


@pytest.mark.parametrize("data", ["cifar10", "cifar100", "folder", "csv"])
def test_detection_needs_boxes(data):
    overrides = [f"data={data}", "task=detection"]
    with pytest.raises(ConfigError, match="labels category"):
        check("train", composed("train", *overrides), split_overrides(overrides))


def test_embeddings_are_evaluated_on_identities_that_training_never_saw(trained, tmp_path):
    root = tmp_path / "set"
    rng = np.random.default_rng(1)
    for number in range(6):
        for index in range(2):
            path = root / f"who{number}" / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (16, 16, 3)).astype(np.uint8)).save(path)
    overrides = [
        "task=embedding",
        "data=folder",
        f"data.root={root}",
        "data.val_fraction=0.5",
        "phi=-4",
        "image_size=64",
    ]
    overrides += ["weights=none", "batch_size=2", "workers=0", "device=cpu", "logger=null", "progress=false"]
    run = effdet.train([*overrides, f"run_dir={tmp_path / 'run'}", "trainer.max_epochs=1", "head.embedding.dim=8"])
    assert {"recall@1", "mAP", "AUC", "TAR@FAR=0.1"} <= run.metrics.keys()
    known = set(effdet.load(tmp_path / "run").classes["embedding"].names)
    again = effdet.evaluate([f"model={tmp_path / 'run'}/checkpoints/last.ckpt", "device=cpu", "workers=0"])
    assert again.metrics["AUC"] == pytest.approx(run.metrics["AUC"], abs=1e-6)
    assert again.metrics["identities"] == 6 - len(known)
    vector = effdet.Predictor(tmp_path / "run")(str(root / "who0" / "0.png")).embedding
    assert vector.shape == (8,) and np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
