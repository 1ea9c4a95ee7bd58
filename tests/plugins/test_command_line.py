"""A head and losses from outside, by the command line from training to exported file and report."""

from __future__ import annotations

import pytest
import yaml

from effdet.cli import app
from tests.cli.conftest import small_coco

__all__ = ["small_coco"]

HERE = "tests.plugins"
SMALL = ["image_size=64", "weights=none", "batch_size=2", "workers=0", "device=cpu", "progress=false", "logger=null",
         "preflight=false", "trainer.max_epochs=1"]  # fmt: skip
LOSSES = [
    f"head.detection.matcher._target_={HERE}.assignment.RisingMatcher",
    "head.detection.matcher.first=0.2",
    f"head.detection.class_loss._target_={HERE}.assignment.QualityLoss",
    f"head.detection.box_loss._target_={HERE}.assignment.LogCoshLoss",
]


@pytest.mark.parametrize("plugin", ["centre", "losses"])
def test_from_training_to_exported_file_and_report(plugin, small_coco, tmp_path, capsys):
    overrides = LOSSES
    if plugin == "centre":
        head = {
            "_target_": f"{HERE}.centre_head.CentreHead",
            "width": 16,
            "kit": {"_target_": "effdet.tasks.detection.DetectionKit"},
        }
        (tmp_path / "conf" / "head").mkdir(parents=True)
        (tmp_path / "conf" / "head" / "centre.yaml").write_text("# @package head.centre\n" + yaml.safe_dump(head))
        overrides = ["--config-dir", str(tmp_path / "conf"), "head=[centre]"]
    run = tmp_path / "run"
    assert app.main(["train", *overrides, *SMALL, "data=coco", f"data.root={small_coco}", f"run_dir={run}"]) == 0
    assert (run / "report.html").is_file()
    saved = yaml.safe_load((run / "config.yaml").read_text())["head"]
    assert list(saved) == ["centre" if plugin == "centre" else "detection"]
    capsys.readouterr()
    assert app.main(["evaluate", f"model={run}", "device=cpu", "workers=0"]) == 2
    assert f"imports {HERE}." in capsys.readouterr().err
    assert app.main(["evaluate", f"model={run}", "device=cpu", "workers=0", "trust=true"]) == 0
    assert (run / "evaluation" / "val" / "report.html").is_file()
    out = tmp_path / "model.torchscript"
    assert app.main(["export", f"model={run}", "format=torchscript", f"out={out}", "trust=true"]) == 0
    assert out.is_file()
