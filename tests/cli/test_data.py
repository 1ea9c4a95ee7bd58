"""What is found before the first step, from the command line on small sets."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from effdet.cli import app
from tests.cli.test_train import SMALL, metrics_of

QUICK = [*SMALL, "preflight=false", "report=false", "trainer.max_steps=1"]


@pytest.fixture
def broken_coco(small_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small set with images 2 and 3 of val cut off: JPEGs, whose headers are valid."""
    monkeypatch.setenv("EFFDET_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "set"
    shutil.copytree(small_coco, root)
    for number in (2, 3):
        cut(root / "val2017" / f"{number}.png")
    return root


def cut(path: Path) -> None:
    """`path` as two thirds of a JPEG."""
    buffer = io.BytesIO()
    Image.open(path).save(buffer, "JPEG")
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) * 2 // 3])


def test_images_of_val_that_cannot_be_decoded_are_named_before_training(broken_coco, tmp_path, capsys):
    cut(broken_coco / "train2017" / "1.png")
    overrides = ["data=coco", f"data.root={broken_coco}", *QUICK, f"run_dir={tmp_path}/x"]
    assert app.main(["train", *overrides]) == 2
    text = capsys.readouterr().err
    for name in ("train2017/1.png", "val2017/2.png", "val2017/3.png"):
        assert name in text
    assert "val: 2 of 4 images cannot be decoded" in text and "data.unreadable=warn" in text
    assert not (tmp_path / "x").exists()


def test_unreadable_warn_holds_for_val_and_for_evaluate(broken_coco, tmp_path, capsys):
    overrides = ["data=coco", f"data.root={broken_coco}", *QUICK, f"run_dir={tmp_path}/x"]
    assert app.main(["train", *overrides, "data.unreadable=warn"]) == 0
    assert "warning: val: 2 of 4 images cannot be decoded: " in capsys.readouterr().out
    expected = metrics_of(tmp_path / "x")
    last = f"model={tmp_path}/x/checkpoints/last.ckpt"
    evaluate = ["evaluate", last, "split=val", "device=cpu", "workers=0", "report=false", f"out={tmp_path}/e"]
    assert app.main(evaluate) == 0  # the run's data.unreadable is taken with its data
    out = capsys.readouterr().out
    assert "they are left out, and their objects are not counted" in out and "2 images" in out
    assert metrics_of(tmp_path / "e") == pytest.approx(expected, abs=1e-6)
    assert app.main([*evaluate, "data.unreadable=error", f"data.root={broken_coco}"]) == 2
    assert "val2017/2.png" in capsys.readouterr().err


def test_unreadable_warn_holds_where_already_the_header_is_broken(broken_coco, tmp_path, capsys):
    (broken_coco / "val2017" / "1.png").write_bytes(b"nothing")
    (broken_coco / "train2017" / "1.png").write_bytes(b"")
    overrides = ["data=coco", f"data.root={broken_coco}", *QUICK, f"run_dir={tmp_path}/x"]
    assert app.main(["train", *overrides]) == 2
    text = capsys.readouterr().err
    assert "val2017/1.png" in text and "train2017/1.png" in text
    assert app.main(["train", *overrides, "data.unreadable=warn"]) == 0
    out = capsys.readouterr().out
    assert "warning: train: 1 × unreadable-image" in out and "warning: val: 1 × unreadable-image" in out


def test_masks_without_the_foreground_are_warned_of(tmp_path, capsys):
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (tmp_path / split / kind).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (64, 64), (number * 9, 0, 0)).save(tmp_path / split / "images" / f"{number}.png")
            mask = np.zeros((64, 64), np.uint8)
            mask[20:40] = 255  # the foreground as most tools write it, and the value that is ignored by default
            Image.fromarray(mask).save(tmp_path / split / "masks" / f"{number}.png")
    sets = [f"data.{split}_{key}={tmp_path}/{split}/{directory}" for split in ("train", "val")
            for key, directory in (("images", "images"), ("annotations", "masks"))]  # fmt: skip
    overrides = ["task=segmentation", "data=masks", "data.classes=[bg,fg]", *sets, *QUICK, f"run_dir={tmp_path}/x"]
    assert app.main(["train", *overrides]) == 0
    out = capsys.readouterr().out
    assert "warning: train: no pixel of 1 of 2 classes (fg): nothing can be learnt of it" in out
    assert "warning: val: no pixel of 1 of 2 classes (fg): it is not measured" in out
    assert out.index("no pixel of") < out.index("model: ")


def coco(root: Path, boxes: int, *, size: tuple[int, int] = (240, 240), images: int = 2) -> None:
    """A set whose images hold `boxes` boxes of one class in a grid; `size` is (width, height)."""
    for split in ("train", "val"):
        directory = root / f"{split}2017"
        directory.mkdir(parents=True)
        rows = []
        for number in range(1, images + 1):
            noise = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), np.uint8)
            Image.fromarray(noise).save(directory / f"{number}.png")
            side, across = (12, 16) if boxes > 1 else (min(size), 1)
            for index in range(boxes):
                x, y = index % across * 15, index // across * 15
                box = [x, y, side, side]
                rows.append({"id": len(rows) + 1, "image_id": number, "category_id": 1, "bbox": box,
                             "area": side * side, "iscrowd": 0})  # fmt: skip
        names = [{"id": n, "file_name": f"{n}.png", "width": size[0], "height": size[1]} for n in range(1, images + 1)]
        (root / "annotations").mkdir(exist_ok=True)
        content = {"images": names, "annotations": rows, "categories": [{"id": 1, "name": "a"}]}
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content))


def test_more_objects_than_coco_counts(tmp_path, capsys):
    coco(tmp_path / "set", 150)
    overrides = [
        "data=coco",
        f"data.root={tmp_path}/set",
        *SMALL,
        "report=false",
        "trainer.max_steps=1",
        "recipe=paper",  # nine anchors: one a cell would not be enough for so many
        f"run_dir={tmp_path}/x",
    ]
    assert app.main(["train", *overrides]) == 0
    out = capsys.readouterr().out
    assert "max_detections=200: an image of val holds 150 objects" in out
    assert "targets fed back score AP 1.000" in out  # 100 of 150 boxes would be .66 by COCO's own cap
    metrics = json.loads((tmp_path / "x" / "metrics.json").read_text())
    assert {"AP", "AP@200"} <= metrics.keys()
    found = [row["image_id"] for row in json.loads((tmp_path / "x" / "predictions.json").read_text())]
    assert max(map(found.count, found)) > 100
    with (tmp_path / "x" / "metrics.csv").open() as file:
        assert any(row["val/AP@200"] for row in csv.DictReader(file))


@pytest.mark.parametrize("size", [(60, 4000), (4000, 60), (1, 70), (70, 1)])
def test_thin_images_are_trained_on(size, tmp_path):
    coco(tmp_path / "set", 1, size=size, images=4)
    overrides = [
        "data=coco",
        f"data.root={tmp_path}/set",
        *SMALL,
        "preflight=false",
        "report=false",
        f"run_dir={tmp_path}/x",
    ]
    overrides = [override for override in overrides if override != "augment=none"] + [
        "augment=strong",
        "augment.grayscale=1",
        "augment.blur=1",
    ]
    overrides += ["augment.noise=1", "augment.mosaic_off_epochs=0", "trainer.max_steps=2"]
    assert app.main(["train", *overrides]) == 0


def test_validation_measures_in_float32_as_evaluate_does(small_coco, tmp_path):
    overrides = [
        "data=coco",
        f"data.root={small_coco}",
        *QUICK,
        f"run_dir={tmp_path}/x",
        "trainer.precision=bf16-mixed",
    ]
    assert app.main(["train", *overrides]) == 0
    last = f"model={tmp_path}/x/checkpoints/last.ckpt"
    assert (
        app.main(["evaluate", last, "split=val", "device=cpu", "workers=0", "report=false", f"out={tmp_path}/e"]) == 0
    )
    scores = [
        np.array([row["score"] for row in json.loads((tmp_path / place / "predictions.json").read_text())])
        for place in ("x", "e")
    ]
    np.testing.assert_allclose(*scores, rtol=0, atol=1e-6)  # bf16 would be off by 1e-3
