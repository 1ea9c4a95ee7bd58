"""The committed list of fine-tuning runs, and what becomes of a run's files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import coco_variants, finetune, runlist

LIST = Path(runlist.ROOT, "benchmarks", "lists", "finetune.yaml")


def test_the_committed_list_is_whole() -> None:
    runs = runlist.read_list(LIST)
    names = [run.name for run in runs]
    assert len(set(names)) == len(names) == 64
    assert names[0] == "raccoon-lite0-line-12-0"
    assert all(f"seed={run.seed}" in run.overrides for run in runs)


def test_a_group_that_names_an_unknown_set_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text(
        "sets: {a: {overrides: []}}\nweights: {w: []}\nrecipes: {r: []}\n"
        "groups: [{sets: [b], weights: [w], recipes: [r], seeds: [0], minutes: 1}]\n"
    )
    with pytest.raises(SystemExit, match="sets has no 'b'; it has a"):
        runlist.read_list(path)


def test_the_curve_and_the_first_loss_are_read_from_metrics_csv(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(
        "step,epoch,loss,val/AP,val/AP50\n0,,,0.25,0.5\n1,0,1.5,,\n15,0,,0.3,0.6\n30,1,,0.4,0.7\n"
    )
    assert runlist.first_loss(tmp_path) == 1.5
    curve = list(runlist.curve(tmp_path))
    assert [(row["epoch"], row["AP"], row["AP50"]) for row in curve] == [(0, 0.25, 0.5), (1, 0.3, 0.6), (2, 0.4, 0.7)]


def test_the_table_has_medians_over_seeds() -> None:
    lines = [
        {
            "name": f"raccoon-lite0-line-12-{seed}",
            "seed": seed,
            "first_loss": 1.0 + seed,
            "val": [{"epoch": 0, "AP": 0.1}, {"epoch": 1, "AP": 0.2}, {"epoch": 12, "AP": ap}],
            "test": {"AP": ap, "AP50": ap + 0.3},
        }
        for seed, ap in enumerate((0.5, 0.7, 0.6))
    ]
    row = finetune.table(lines).splitlines()[-1]
    assert row == (
        "| raccoon | lite0 | line | 0, 1, 2 | 2.00 | 0.100 | 0.200 |  | 0.600 | 0.500 to 0.700 | 0.600 / 0.900 |"
    )


def test_the_variants_of_a_coco_set_keep_its_boxes(tmp_path: Path) -> None:
    source = tmp_path / "coco"
    content = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "categories": [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5]},
            {"id": 2, "image_id": 2, "category_id": 3, "bbox": [1, 1, 5, 5]},
        ],
    }
    (source / "annotations").mkdir(parents=True)
    for split in coco_variants.SPLITS:
        (source / split).mkdir()
        (source / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    coco_variants.write(source, tmp_path / "out")

    def read(name: str) -> dict:
        return json.loads((tmp_path / "out" / name / "annotations" / "instances_val2017.json").read_text())

    assert [category["name"] for category in read("renamed")["categories"]] == ["thing_1", "thing_3"]
    assert read("renamed")["annotations"] == content["annotations"]
    assert [image["id"] for image in read("person")["images"]] == [1]
    assert [entry["id"] for entry in read("person")["annotations"]] == [1]
