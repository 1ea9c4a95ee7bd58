"""Each augmentation trains from the command line, and a resumed run ends as one that was never stopped."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import effdet
from effdet.cli import app
from effdet.data import DataSpec, open_dataset
from effdet.data.sampling import chosen_repeats
from effdet.streets.write import write
from effdet.training import read_checkpoint
from heads.class_weights import box_weights

OVERRIDES = [
    *("phi=-4", "image_size=64", "weights=none", "batch_size=2", "device=cpu", "logger=null", "progress=false"),
    *("report=false", "optimizer.schedule=constant", "optimizer.warmup_epochs=0", "trainer.max_epochs=2"),
]


def trained(directory: Path, root: Path, *overrides: str) -> dict[str, torch.Tensor]:
    """The weights of a run, without the average."""
    command = ["train", "data=coco", f"data.root={root}", *OVERRIDES, f"run_dir={directory}", *overrides]
    assert app.main(command) == 0
    assert (directory / "train_batch.jpg").is_file()
    return read_checkpoint(directory / "checkpoints" / "last.ckpt")["raw_state_dict"]


@pytest.mark.parametrize(
    "overrides",
    [
        ("augment.mixup=32", "augment.mix=0.5"),
        ("augment.mixup=32", "augment.mosaic=0.5", "augment.partners=batch", "augment.mosaic_off_epochs=0"),
        ("augment.copy_paste=0.7", "augment.mosaic_off_epochs=0"),
        ("augment.closing_scale=[0.8, 1.25]", "augment.mosaic=0.5", "augment.mosaic_off_epochs=1"),
        ("augment.multi_scale=[0.5, 1.5]",),
        ("augment.multi_scale=[0.5, 1.5]", "trainer.accumulate_grad_batches=2"),
    ],
    ids=["mixup", "partners", "copy_paste", "closing", "multi_scale", "multi_scale and accumulation"],
)
def test_a_training_goes_on_in_mid_epoch_as_if_it_had_not_stopped(overrides, small_coco, tmp_path):
    whole = trained(tmp_path / "whole", small_coco, "workers=0", "preflight=false", *overrides)
    steps = 1 if "trainer.accumulate_grad_batches=2" in overrides else 3
    trained(tmp_path / "cut", small_coco, "workers=0", f"trainer.max_steps={steps}", *overrides)
    cut = trained(tmp_path / "cut", small_coco, "workers=2", "trainer.max_steps=-1", "resume=auto")
    assert whole.keys() == cut.keys() and all(torch.equal(whole[name], cut[name]) for name in whole)
    saved = yaml.safe_load((tmp_path / "cut" / "config.yaml").read_text())
    for override in overrides:
        key, _, value = override.partition("=")
        if not key.startswith("augment."):
            continue
        assert str(saved["augment"][key.removeprefix("augment.")]) in (value, f"{value}.0")


def uneven(root: Path, small_coco: Path) -> Path:
    """The small set's images again and again: of 60 for training, 55 show the first class and 5 the second."""
    content = json.loads((small_coco / "annotations" / "instances_train2017.json").read_text())
    of_class = {row["category_id"]: row for row in content["annotations"]}
    first, second = (of_class[number] for number in sorted(of_class))
    images, annotations = [], []
    for number in range(1, 61):
        row = first if number <= 55 else second
        name = next(image["file_name"] for image in content["images"] if image["id"] == row["image_id"])
        images.append({"id": number, "file_name": f"{number}-{name}", "width": 64, "height": 48})
        annotations.append({**row, "id": number, "image_id": number})
        (root / "train2017").mkdir(parents=True, exist_ok=True)
        shutil.copy(small_coco / "train2017" / name, root / "train2017" / f"{number}-{name}")
    (root / "annotations").mkdir()
    truth = {**content, "images": images, "annotations": annotations}
    for split in ("train", "val"):
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(truth))
    return root


def test_the_papers_recipe_repeats_no_image(small_coco, tmp_path, capsys):
    root = uneven(tmp_path / "set", small_coco)
    trained(
        tmp_path / "x",
        root,
        "data.val_fraction=0.2",
        "recipe=paper",
        "workers=0",
        "preflight=false",
        "trainer.max_steps=1",
    )
    out = capsys.readouterr().out
    assert "data.repeat_threshold=null " in out and "an epoch shows" not in out
    assert yaml.safe_load((tmp_path / "x" / "config.yaml").read_text())["data"]["repeat_threshold"] is None


def test_rare_classes_come_more_often_and_weigh_more(small_coco, tmp_path, capsys):
    root = uneven(tmp_path / "set", small_coco)
    overrides = ["data.val_fraction=0.2", "data.repeat_threshold=auto", "head.detection.loss.class_weights=sqrt"]
    overrides += ["workers=0", "preflight=false"]
    trained(tmp_path / "x", root, *overrides, "trainer.max_steps=2")
    out = capsys.readouterr().out
    assert re.search(r"data.repeat_threshold=auto: 0\.1\d+, a third .* below it are \w+ \d of \d\d images", out)
    table = open_dataset(DataSpec("coco", root=root, val_fraction=0.2)).records
    counts = np.bincount(table.labels)
    settings = effdet.load(tmp_path / "x").heads["detection"].loss_settings
    assert settings.class_weights == pytest.approx(box_weights(counts.tolist(), "sqrt"), abs=1e-4)
    shown = chosen_repeats(table, ("a", "b"), "auto").factors
    assert f"an epoch shows {round(shown.sum())} images" in out
    assert app.main(["train", f"run_dir={tmp_path / 'x'}", "resume=auto", "trainer.max_steps=3"]) == 0
    assert f"an epoch shows {round(shown.sum())} images" in capsys.readouterr().out
    assert yaml.safe_load((tmp_path / "x" / "config.yaml").read_text())["data"]["repeat_threshold"] == "auto"
    again = ["train", f"run_dir={tmp_path / 'x'}", "resume=auto", "data.repeat_threshold=null"]
    assert app.main(again) == 2
    assert "data.repeat_threshold=null: the run has auto" in capsys.readouterr().err


def test_objects_are_pasted_on_generated_scenes_with_their_segmentation_maps(tmp_path, capsys):
    root = tmp_path / "streets"
    root.mkdir()
    write(root, (96, 96), 0, {"train": 6, "val": 2, "test": 1}, workers=1, progress=False)
    overrides = ["data=streets", f"data.root={root}", "task=driving"]
    overrides += [*OVERRIDES, "workers=0", "preflight=false", "trainer.max_steps=2", f"run_dir={tmp_path / 'x'}"]
    assert app.main(["train", *overrides, "augment.copy_paste=1.0", "augment.mosaic_off_epochs=0"]) == 0
    again = ["train", *overrides, "overwrite=true", "augment.copy_paste=1.0", "augment.copy_paste_classes=[tank]"]
    capsys.readouterr()
    assert app.main(again) == 2
    assert "augment.copy_paste_classes=['tank']: tank is no class of data=streets, which has" in capsys.readouterr().err


def test_masks_that_a_set_lacks_are_said_before_the_first_step(tmp_path, capsys, small_coco):
    root = tmp_path / "set"
    shutil.copytree(small_coco, root)
    path = root / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    for row in content["annotations"]:
        del row["segmentation"]
    path.write_text(json.dumps(content))
    assert app.main(["train", "data=coco", f"data.root={root}", *OVERRIDES, "augment.copy_paste=0.5"]) == 2
    assert "augment.copy_paste: data=coco: no annotation has a mask." in capsys.readouterr().err
