"""A head of the user's own that learns from masks, on the generated scenes, where the task asks for boxes."""

from __future__ import annotations

import json

import effdet
from effdet import streets
from effdet.cli import app

HERE = "tests.plugins.share_head"


def test_masks_are_read_for_a_head_whose_kit_asks_for_them(tmp_path, capsys):
    root = streets.ensure(64, train=4, val=2, test=0, root=tmp_path / "sets", workers=1, progress=False)
    run = tmp_path / "run"
    head = ["head=[shares]", f"head.shares.kit._target_={HERE}.ShareKit", "head.shares.kit.digits=2"]
    conf = tmp_path / "conf" / "head"
    conf.mkdir(parents=True)
    (conf / "shares.yaml").write_text(f"# @package head.shares\n# Shares.\n_target_: {HERE}.ShareHead\n")
    data = [f"data.root={root}", "device=cpu", "workers=0"]
    effdet.train(["--config-dir", str(tmp_path / "conf"), *head, *data, "phi=-4", "image_size=64",
                  "weights=none", "batch_size=2", "trainer.max_epochs=1", "progress=false", f"run_dir={run}"])  # fmt: skip
    assert json.loads((run / "metrics.json").read_text())["share_fit"] > 0.5
    assert app.main(["evaluate", f"model={run}", "trust=true", *data]) == 0
    assert "share_fit" in capsys.readouterr().out
    model = effdet.load(run, trust=True)
    assert len(model.classes["shares"]) == 19, "the masks' classes"
