"""Runs with a head, a matcher or losses from outside of the package resume from the command line."""

from __future__ import annotations

import json

import pytest
import torch

import effdet
from effdet.cli import app
from tests.plugins import dominoes

HERE = "tests.plugins"
SMALL = ["phi=-4", "image_size=64", "weights=none", "batch_size=2", "workers=0", "device=cpu", "progress=false",
         "augment=none", "task=detection", "trainer.log_every_n_steps=1"]  # fmt: skip
CENTRE = f"""# @package head.centre
_target_: {HERE}.centre_head.CentreHead
width: 16
kit:
  _target_: effdet.tasks.detection.DetectionKit
"""
LOSSES = [f"head.detection.matcher._target_={HERE}.assignment.RisingMatcher", "head.detection.matcher.first=0.2",
          f"head.detection.class_loss._target_={HERE}.assignment.QualityLoss",
          f"head.detection.box_loss._target_={HERE}.assignment.LogCoshLoss"]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = dominoes.write(tmp_path_factory.mktemp("dominoes"))
    return [f"data._target_={HERE}.dominoes.open_split", f"data.folder={folder}"]


@pytest.fixture(scope="module")
def centre(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conf")
    (folder / "head").mkdir()
    (folder / "head" / "centre.yaml").write_text(CENTRE)
    return [f"--config-dir={folder}", "head=[centre]"]


@pytest.mark.parametrize("kind", ["head", "losses"])
def test_a_run_with_parts_from_outside_resumes(kind, data, centre, tmp_path, capsys):
    own = centre if kind == "head" else LOSSES
    run, base = tmp_path / "run", [*SMALL, *data]
    assert app.main(["train", *own, *base, f"run_dir={run}", "trainer.max_epochs=2", "trainer.max_steps=3"]) == 0
    saved = json.loads(torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["spec"])["heads"]
    assert saved == effdet.load(run, trust=True).spec.to_dict()["heads"]
    assert list(saved) == (["centre"] if kind == "head" else ["detection"])
    assert app.main(["train", f"resume={run}", "trainer.max_steps=-1"]) == 2  # what only the run names is not imported
    assert "trust=true" in capsys.readouterr().err
    assert app.main(["train", f"resume={run}", "trainer.max_steps=-1", "trust=true"]) == 0
    rows = (run / "metrics.csv").read_text().splitlines()
    assert ("centre/heat" in rows[0]) == (kind == "head") and (run / "report.html").is_file()
