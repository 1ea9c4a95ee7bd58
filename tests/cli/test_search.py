"""``effdet search`` from its overrides to its files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from effdet.cli import scale as trainings
from effdet.cli.app import COMMANDS, prepare, run
from effdet.cli.overrides import ConfigError, split_overrides
from effdet.model import count_cost, read_model_file, spec_for
from heads.structures import UserError
from tests.search.fake_runs import trained

SEARCH = COMMANDS["search"]
PROXY = ("task=classification", "data=folder", "base_phi=-4", "image_size=32", "progress=false")


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Two classes of eight images: bright and dark."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name, low in (("bright", 160), ("dark", 0)):
            directory = root / split / name
            directory.mkdir(parents=True)
            for number in range(8):
                pixels = rng.integers(low, low + 90, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(directory / f"{number}.png")
    return root


def test_a_search_ends_with_a_model_file_and_can_be_given_more(tmp_path, images, monkeypatch, capsys):
    monkeypatch.setattr(trainings, "train", trained)
    overrides = [*PROXY, f"data.root={images}", f"run_dir={tmp_path}", "batch=3"]
    result = run(SEARCH, [*overrides, "trials=4"])
    shown = capsys.readouterr().out
    assert "4 trials: 4 trained, 0 failed, 0 not finite" in shown and "Pareto front" in shown
    assert shown.rstrip().endswith(str(tmp_path / "best.json"))
    best, baseline = read_model_file(tmp_path / "best.json"), read_model_file(tmp_path / "baseline.json")
    assert best.image_size == (32, 32) and best.made_by["reward"] == result.metrics["reward"] > 0
    costs = [count_cost(spec_for(task="classification", architecture=each)).gmacs for each in (best, baseline)]
    assert costs[1] == pytest.approx(costs[0], rel=0.2) and costs[0] == pytest.approx(best.made_by["cost"])
    trials = json.loads((tmp_path / "results.json").read_text())["trials"]
    assert len(trials) == 4 and max(trial["reward"] for trial in trials) == best.made_by["reward"]
    assert "Pareto front" in (tmp_path / "pareto.html").read_text()
    with pytest.raises(ConfigError, match="holds a study; go on by resume=auto"):
        run(SEARCH, [*overrides, "trials=6"])
    with pytest.raises(UserError, match=r"other settings \(algorithm=random, there ppo\)"):
        run(SEARCH, [*overrides, "trials=6", "algorithm=random", "resume=auto"])
    run(SEARCH, [*overrides, "trials=6", "resume=auto", "jobs=2"])
    again = json.loads((tmp_path / "results.json").read_text())["trials"]
    assert again[:4] == trials and len(again) == 6
    run(SEARCH, [*overrides, "trials=1", "overwrite=true"])
    assert len(json.loads((tmp_path / "results.json").read_text())["trials"]) == 1


def test_overrides_are_checked_before_work():
    with pytest.raises(ConfigError) as caught:
        prepare(SEARCH, split_overrides([*PROXY, "algorithm=annealing", "trainer.max_epoch=1"]))
    text = "\n".join(caught.value.problems)
    assert "algorithm=annealing" in text and "did you mean trainer.max_epochs" in text


@pytest.mark.slow
def test_real_trainings_killed_and_resumed(tmp_path, images):
    root = Path(__file__).resolve().parents[2]
    overrides = [
        *PROXY,
        f"data.root={images}",
        "trainer.max_epochs=2",
        "batch_size=8",
        "trials=4",
        "batch=2",
        "workers=0",
    ]

    def command(directory: Path, *more: str) -> list[str]:
        return [sys.executable, "-m", "effdet", "search", *overrides, f"run_dir={directory}", *more]

    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    killed = subprocess.Popen(command(tmp_path / "killed"), env=environment, cwd=root)
    for _ in range(3000):
        if len(list((tmp_path / "killed").glob("trials/*/checkpoints/last.ckpt"))) == 2:
            break
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    time.sleep(1)
    for directory, more in (("killed", ["resume=auto"]), ("whole", [])):
        subprocess.run(command(tmp_path / directory, *more), env=environment, cwd=root, check=True)
    found = []
    for directory in ("killed", "whole"):
        trials = json.loads((tmp_path / directory / "results.json").read_text())["trials"]
        assert [trial["state"] for trial in trials] == ["done"] * 4
        found.append([{key: value for key, value in trial.items() if key != "seconds"} for trial in trials])
    assert found[0] == found[1]
