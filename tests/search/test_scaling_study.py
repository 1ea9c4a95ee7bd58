"""A study whose trainings are made up: rows, failures, files, and going on."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backbones.scaling import phi_spec
from effdet.model import Architecture, Cost, read_model_file
from effdet.search.coefficients import PAPER, Factors
from effdet.search.scaling_study import Candidate, best, train_candidates, write_study
from tests.search.fake_runs import run


def candidate(kind: str) -> Candidate:
    architecture = Architecture(kind, phi_spec(-4), (32, 32))
    return Candidate(kind, architecture, Factors(depth=1.2), Cost(1000, 0.002), PAPER if kind == "compound" else None)


def study(directory: Path, scores: dict[str, str], **options):
    def overrides(chosen: dict) -> tuple[str, ...]:
        name, seed = read_model_file(chosen["architecture.path"]).name, chosen["seed"]
        return (f"do={scores[name].split()[seed]}", f"value=0.{seed + 5}", f"record={directory / 'record'}")

    found = [candidate(kind) for kind in scores]
    trainings: Any = SimpleNamespace(run=run, overrides=overrides, metric="top1", preload=())
    return train_candidates(
        found,
        trainings,
        directory=directory,
        seeds=range(2),
        workers=2,
        notify=lambda line: None,
        **options,
    )


def test_means_spreads_failures_and_files(tmp_path):
    outcomes = study(tmp_path, {"compound": "pass pass", "depth": "raise pass", "width": "raise raise"})
    compound, depth, width = outcomes
    assert compound.mean == pytest.approx(0.55) and compound.spread == pytest.approx(0.05 * 2**0.5)
    assert depth.scores == {1: 0.6} and depth.spread is None and "bad candidate" in depth.failures[0]
    assert width.mean is None and best(outcomes) is depth  # by its mean; a failed training is no zero
    assert best([width]) is None
    paths = write_study(tmp_path, "comparison", outcomes, "top1", {"base": "b"})
    assert [path.suffix for path in paths] == [".json", ".csv", ".html"] and all(path.stat().st_size for path in paths)
    written = json.loads(paths[0].read_text())
    assert written["base"] == "b" and written["rows"][0]["alpha"] == 1.2 and written["rows"][1]["alpha"] is None
    rows = list(csv.DictReader(paths[1].open()))
    assert [row["seed1"] for row in rows] == ["0.6", "0.6", ""]


def test_what_ended_is_not_run_again(tmp_path):
    study(tmp_path, {"depth": "pass pass"})
    again = study(tmp_path, {"depth": "pass pass", "width": "pass pass"})
    assert [len(outcome.scores) for outcome in again] == [2, 2]
    assert len((tmp_path / "record").read_text().splitlines()) == 4


def test_nothing_to_plot(tmp_path):
    outcomes = study(tmp_path, {"width": "raise raise"})
    assert [path.suffix for path in write_study(tmp_path, "x", outcomes, "top1", {})] == [".json", ".csv"]
