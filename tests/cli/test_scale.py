"""``effdet scale``: its overrides, and its model files."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image

from effdet.cli import scale
from effdet.cli.app import COMMANDS, prepare, run
from effdet.cli.overrides import ConfigError, split_overrides
from effdet.cli.resume import candidate_overrides
from effdet.model import read_model_file, spec_for
from heads.structures import UserError

SCALE = COMMANDS["scale"]


def refused(*overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        prepare(SCALE, split_overrides(overrides))
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ([], "nothing to do: give one of fit_latency_ms="),
        (["fit_gmacs=1", "fit_memory_mb=30"], "fit_memory_mb=30 fit_gmacs=1: each is a budget; give one of them"),
        (["fit_gmacs=1", "phi=2"], "fit_gmacs=1 phi=2: a budget chooses phi by itself"),
        (["alpha=1.2", "phi=1"], "alpha=1.2: beta and gamma must be given too"),
        (["alpha=1.2", "beta=1.1", "gamma=1.1"], "for how many steps"),
        (["grid=true", "alpha=1.2", "beta=1.1", "gamma=1.1"], "the grid finds coefficients"),
        (["compare=true"], "of which coefficients"),
        (["phi=1", "base_phi=0"], "for one model write phi="),
        (["phi=9"], "phi=9"),
        (["phi=1", "trainer.max_epoch=2"], "did you mean trainer.max_epochs"),
        (["fit_gmac=1"], "did you mean fit_gmacs"),
        (["phi=1", "task=detection", "data=cifar10"], "the task needs boxes"),
    ],
)
def test_contradictions_are_one_line(overrides, text):
    (line,) = refused(*overrides)
    assert text in line


def test_other_overrides_are_handed_on():
    overrides = split_overrides(
        ["grid=true", "task=classification", "data=folder", "backbone=b0", "image_size=64", "batch_size=4"]
    )
    config = prepare(SCALE, overrides)
    assert config.grid is True and config.train.batch_size == 4 and config.train.task.name == "classification"
    found = candidate_overrides(
        "scale", overrides, {"seed": 3, "run_dir": "r"}, unless={"batch_size": 2, "report": "false"}
    )
    assert found == (
        "task=classification",
        "data=folder",
        "batch_size=4",
        "image_size=null",
        "report=false",
        "seed=3",
        "run_dir=r",
    )


def test_a_study_that_is_replaced_leaves_what_others_keep_there(tmp_path):
    """And no credential of an address stands in the overrides that it keeps."""
    overrides = split_overrides(
        ["grid=true", "task=classification", "data=shards", "data.url=https://me:s3cret@h/set?sig=s3cret",
         "overwrite=true", f"run_dir={tmp_path}"]
    )  # fmt: skip
    config = prepare(SCALE, overrides)
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    (tmp_path / "study.json").write_text('{"mine": 1}')
    with pytest.raises(UserError, match=r"study\.json is there already and is not of a study"):
        scale._directory(config, overrides)
    (tmp_path / "study.json").unlink()
    for _ in range(2):
        scale._directory(config, overrides)
        for name in ("runs/a/metrics.csv", "models/a.json", "grid.csv", "comparison.png", "best.json"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("of the study")
    scale._directory(config, overrides)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.jpg", "study.json"]
    assert "data.url=https://h/set" in (tmp_path / "study.json").read_text()
    assert "s3cret" not in (tmp_path / "study.json").read_text()


def test_the_model_of_a_phi(tmp_path):
    run(SCALE, ["phi=2", f"out={tmp_path / 'm.json'}"])
    found = read_model_file(tmp_path / "m.json")
    expected = spec_for(task="detection", phi=2)
    assert spec_for(task="detection", architecture=found).replace(name="") == expected.replace(name="")
    assert found.made_by["how"] == "phi=2, published scaling"
    run(SCALE, ["phi=1.5", "task=classification", f"out={tmp_path / 'c.json'}"])
    found = spec_for(task="classification", architecture=read_model_file(tmp_path / "c.json"))
    assert found.replace(name="") == spec_for(task="classification", phi=1.5).replace(name="")


def test_the_model_of_coefficients(tmp_path):
    overrides = ["alpha=1", "beta=1", "gamma=2", "phi=1", "backbone=lite0", "image_size=64", "task=classification"]
    run(SCALE, [*overrides, f"out={tmp_path / 'm.json'}"])
    found = read_model_file(tmp_path / "m.json")
    assert found.image_size == (128, 128) and found.backbone.blocks == 16 and found.neck is not None
    path = f"architecture.path={tmp_path / 'm.json'}"
    run(SCALE, ["alpha=2", "beta=1", "gamma=1", "phi=1", path, f"out={tmp_path / 'n.json'}"])
    deeper = read_model_file(tmp_path / "n.json")
    assert deeper.backbone.blocks == 32 and deeper.image_size == (128, 128)


def test_a_budget_below_the_smallest(tmp_path):
    with pytest.raises(UserError, match=r"fit_gmacs=1e-06: the smallest model \(phi=-4\) takes"):
        run(SCALE, ["fit_gmacs=1e-6", "task=classification", "image_size=32", f"out={tmp_path / 'm.json'}"])
    assert not (tmp_path / "m.json").exists()


def test_a_budget_of_multiply_adds(tmp_path, capsys):
    run(SCALE, ["fit_gmacs=0.3", "task=classification", f"out={tmp_path / 'm.json'}"])
    made_by = read_model_file(tmp_path / "m.json").made_by
    assert made_by["value"] <= 0.3 and made_by["unit"] == "GMACs" and len(made_by["probes"]) > 3
    assert "chosen" in capsys.readouterr().out


@pytest.mark.slow  # measures
def test_a_budget_of_time(tmp_path):
    run(SCALE, ["fit_latency_ms=20", "task=classification", "runs=5", f"out={tmp_path / 'm.json'}"])
    assert 0 < read_model_file(tmp_path / "m.json").made_by["value"] <= 20


@pytest.mark.slow  # trains four times
@pytest.mark.timeout(900)
def test_a_study_end_to_end_and_again(tmp_path, capsys):
    for split in ("train", "val"):
        for name, colour in (("red", 200), ("dark", 20)):
            path = tmp_path / "set" / split / name / "0.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(np.full((20, 24, 3), colour, np.uint8)).save(path)
    overrides = ["task=classification", "data=folder", f"data.root={tmp_path / 'set'}", f"run_dir={tmp_path / 'study'}"]
    overrides += ["batch_size=2", "workers=0", "device=cpu", "trainer.max_epochs=1", "base_phi=-4", "image_size=32"]
    overrides += ["grid=true", "candidates.alpha=[1.2]", "candidates.gamma=[1.15,1.3]", "candidates.tolerance=0.12"]
    overrides += ["compare=true", "kinds=[base,resolution]", "seeds=1"]
    result = run(SCALE, overrides)
    rows = json.loads((tmp_path / "study" / "grid.json").read_text())["rows"]
    assert len(rows) >= 2 and all(row["mean"] is not None for row in rows)
    assert {row["kind"] for row in json.loads((tmp_path / "study" / "comparison.json").read_text())["rows"]} == {
        "base",
        "resolution",
    }
    assert read_model_file(tmp_path / "study" / "best.json").made_by["study"]["top1"] == result.metrics["top1"]
    with pytest.raises(ConfigError, match="holds a study; go on by resume=auto"):
        run(SCALE, overrides)
    with pytest.raises(ConfigError, match="made with other overrides"):
        run(SCALE, [*overrides, "seed=4", "resume=auto"])
    capsys.readouterr()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "study" / "runs").glob("*/result.json")}
    run(SCALE, [*overrides, "resume=auto"])
    assert {path: path.stat().st_mtime_ns for path in before} == before  # nothing was trained again
    saved = yaml.safe_load(next((tmp_path / "study" / "runs").glob("*/config.yaml")).read_text())
    assert saved["image_size"] is None and saved["architecture"]["path"].endswith(".json")
