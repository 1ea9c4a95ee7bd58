"""A data set, augmentation, optimiser, schedule, callback and logger from outside, from training to export and report."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

import effdet
from effdet.cli import app
from tests.plugins import dominoes

HERE = "tests.plugins"
SMALL = ["image_size=64", "weights=none", "batch_size=2", "workers=0", "device=cpu", "progress=false", "logger=null",
         "preflight=false"]  # fmt: skip
DATA = f"data._target_={HERE}.dominoes.open_split"


@pytest.fixture(scope="module")
def overrides(tmp_path_factory):
    folder = dominoes.write(tmp_path_factory.mktemp("dominoes"))
    count = folder / "count.txt"
    return [
        *SMALL, "backbone=lite0", "optimizer=sgd", "augment=light", DATA, f"data.folder={folder}", "+data.least=4",
        f"augment.transforms=[{{_target_: {HERE}.noise.Speckle, strength: 30, p: 0.9}}]",
        f"optimizer._target_={HERE}.noise.Slow", "optimizer.share=0.1",
        f"optimizer.schedule._target_={HERE}.noise.halving", "optimizer.schedule.every=2",
        f"trainer.callbacks=[{{_target_: {HERE}.noise.Count, file: '{count}'}}]",
        f"trainer.logger=[{{_target_: {HERE}.noise.Lines}}]", "trainer.log_every_n_steps=1",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def whole(overrides, tmp_path_factory):
    """A run of two epochs."""
    return effdet.train([*overrides, f"run_dir={tmp_path_factory.mktemp('runs')}/whole", "trainer.max_epochs=2"])


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["raw_state_dict"]


def test_a_run_records_and_uses_what_was_named(whole, overrides):
    saved = yaml.safe_load((whole.run_dir / "config.yaml").read_text())
    assert saved["data"]["_target_"] == f"{HERE}.dominoes.open_split" and saved["data"]["least"] == 4
    assert saved["optimizer"]["schedule"] == {"_target_": f"{HERE}.noise.halving", "every": 2}
    assert Path(saved["trainer"]["callbacks"][0]["file"]).read_text() == "4"
    lines = (whole.run_dir / "lines.txt").read_text()
    assert "val/AP" in lines and "loss" in lines
    checkpoint = torch.load(whole.run_dir / "checkpoints" / "last.ckpt", weights_only=True)
    (state,) = checkpoint["optimizer_states"]
    # 0.08 · 2 / 64 of `base_batch_size`, a tenth of it by `share`, a quarter after two halvings
    assert state["param_groups"][-1]["lr"] == pytest.approx(0.08 * 2 / 64 * 0.1 / 4)
    assert {group["weight_decay"] for group in state["param_groups"]} == {0, 4e-5}


def test_a_resumed_run_is_equal_to_the_bit_whatever_the_workers(whole, overrides, tmp_path, capsys):
    folder = tmp_path / "half"
    effdet.train([*overrides, f"run_dir={folder}", "trainer.max_epochs=2", "trainer.max_steps=3"])
    assert app.main(["train", f"resume={folder}", "trainer.max_steps=-1"]) == 2
    assert "trust=true" in capsys.readouterr().err
    assert (
        app.main(
            ["train", f"resume={folder}", "trust=true", f"optimizer._target_={HERE}.noise.Slow", "optimizer.eps=1"]
        )
        == 2
    )
    assert "optimizer.eps=1: the run has no such key" in capsys.readouterr().err
    assert app.main(["train", f"resume={folder}", "trust=true", "optimizer.schedule=step"]) == 2
    assert "optimizer.schedule=step: the run has " in capsys.readouterr().err
    effdet.train([f"resume={folder}", "trainer.max_steps=-1", "workers=2", "trust=true"])
    expected, found = weights(whole.run_dir), weights(folder)
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_evaluate_report_and_export(whole, capsys):
    overrides = [f"model={whole.run_dir}", "device=cpu"]
    assert app.main(["evaluate", *overrides]) == 2  # the run's data set is imported only if trusted
    error = capsys.readouterr().err
    assert f"config.yaml: imports {HERE}.dominoes.open_split" in error and "trust=true" in error
    last = whole.run_dir / "checkpoints" / "last.ckpt"
    run = effdet.evaluate([f"model={last}", "device=cpu", "workers=0", DATA])
    assert run.metrics["AP"] == pytest.approx(whole.metrics["AP"], abs=1e-6)
    assert (
        run.run_dir is not None
        and (run.run_dir / "report.html").is_file()
        and (whole.run_dir / "report.html").is_file()
    )
    out = whole.run_dir / "model.torchscript"
    assert app.main(["export", f"model={whole.run_dir}", "format=torchscript", f"out={out}", "trust=true"]) == 0
    assert out.is_file()


def test_errors_come_before_data_is_opened(overrides, capsys):
    def error(*overrides):
        assert app.main(["train", *SMALL, *overrides]) == 2
        return capsys.readouterr().err

    assert "takes no argument flder; did you mean folder?" in error(DATA, "data.flder=x")
    assert "missing a required argument: 'folder'" in error(DATA)
    assert "tests.plugins.noise has no Speckel; did you mean Speckle?" in error(
        DATA, "data.folder=x", f"augment.transforms=[{{_target_: {HERE}.noise.Speckel}}]"
    )
    assert "takes no argument shar; did you mean share?" in error(
        f"optimizer._target_={HERE}.noise.Slow", "optimizer.shar=1"
    )
    assert "missing a required argument: 'every'" in error(f"optimizer.schedule._target_={HERE}.noise.halving")
    assert "takes no argument fil" in error(f"trainer.callbacks=[{{_target_: {HERE}.noise.Count, fil: x}}]")
    assert "trainer.callbacks=[{'file': 'x'}]: takes Lightning's objects" in error("trainer.callbacks=[{file: x}]")
