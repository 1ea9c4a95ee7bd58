"""Each augmentation trains from the command line, and a resumed run ends as one that was never stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from effdet.cli import app
from effdet.training import read_checkpoint

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
    ],
    ids=["mixup", "partners of the batch"],
)
def test_a_training_goes_on_in_mid_epoch_as_if_it_had_not_stopped(overrides, small_coco, tmp_path):
    whole = trained(tmp_path / "whole", small_coco, "workers=0", "preflight=false", *overrides)
    trained(tmp_path / "cut", small_coco, "workers=0", "trainer.max_steps=3", *overrides)
    cut = trained(tmp_path / "cut", small_coco, "workers=2", "trainer.max_steps=-1", "resume=auto")
    assert whole.keys() == cut.keys() and all(torch.equal(whole[name], cut[name]) for name in whole)
    saved = yaml.safe_load((tmp_path / "cut" / "config.yaml").read_text())
    for override in overrides:
        key, _, value = override.partition("=")
        assert str(saved["augment"][key.removeprefix("augment.")]) in (value, f"{value}.0")
