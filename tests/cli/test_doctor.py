"""``effdet doctor`` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from effdet.cli.app import FAILED, MISUSED, OK, main
from tests.doctor import sets


@pytest.fixture
def root(tmp_path: Path) -> Path:
    sets.coco(tmp_path / "set")
    return tmp_path / "set"


def doctor(root: Path, *overrides: str, data: str = "coco") -> int:
    out = f"out={root.parent / 'out'}"
    return main(["doctor", f"data={data}", f"data.root={root}", "workers=0", "image_size=128", out, *overrides])


def test_a_valid_set(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(root) == OK
    printed = capsys.readouterr().out
    assert "0 errors, 0 warnings, 0 notes" in printed
    assert printed.strip().endswith("doctor.html")
    assert sorted(path.name for path in (root.parent / "out").iterdir()) == ["doctor.html", "doctor.json"]


def test_images_without_labels_are_read_too(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pool = root.parent / "pool"
    pool.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(pool / name)
    assert doctor(root, f"data.unlabelled={pool}") == OK
    assert "0 errors, 0 warnings, 0 notes" in capsys.readouterr().out
    (pool / "b.png").write_bytes((pool / "b.png").read_bytes()[:200])
    (pool / "c.png").write_bytes(b"no image")
    of_val = next((root / "val2017").iterdir())
    (pool / f"copy{of_val.suffix}").write_bytes(of_val.read_bytes())
    assert doctor(root, f"data.unlabelled={pool}") == FAILED
    found = json.loads((root.parent / "out" / "doctor.json").read_text())["findings"]
    kinds = {(finding["kind"], Path(finding["file"]).name) for finding in found}
    assert ("split-leak", f"copy{of_val.suffix}") in kinds
    assert {name for _, name in kinds} == {"b.png", "c.png", f"copy{of_val.suffix}"}
    assert doctor(root, f"data.unlabelled={pool}", "split=val") == OK
    assert doctor(root, "data.unlabelled=nowhere") == MISUSED


def test_the_exit_code_follows_fail_on(root: Path) -> None:
    sets.edit_json(root, lambda content: content["annotations"][1].update(bbox=[80, 4, 30, 24]))  # a warning
    assert doctor(root) == OK
    assert doctor(root, "doctor.fail_on=warning") == FAILED
    sets.edit_json(root, lambda content: content["annotations"][1].update(bbox=[80, 4, 0, 24]))  # an error
    assert doctor(root) == FAILED
    assert doctor(root, "doctor.fail_on=none") == OK


def test_fix_writes_a_copy_that_is_valid(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets.edit_json(root, lambda content: content["annotations"][1].update(bbox=[80, 4, 0, 24]))
    before = sets.json_path(root).read_bytes()
    assert doctor(root, "doctor.fix=true") == FAILED
    assert "1 objects left out" in capsys.readouterr().out
    assert doctor(root.parent / "out" / "repaired") == OK
    assert sets.json_path(root).read_bytes() == before
    assert doctor(root, "doctor.fix=true") == MISUSED  # the copy is there
    assert "remove it" in capsys.readouterr().err


def test_anchors_of_the_model_that_is_asked_for(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(root, "backbone=lite0", "head.detection.loss.threshold=0.6") == OK
    assert "128×128 input, anchor scale 3, matcher iou ≥ 0.6" in " ".join(capsys.readouterr().out.split())
    assert doctor(root, "doctor.anchors=false") == OK
    assert "anchors:" not in capsys.readouterr().out


def test_mistakes_are_one_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(root / "none") == MISUSED
    assert "no such file or folder" in capsys.readouterr().err
    assert doctor(root, "doctor.fix=maybe") == MISUSED
    assert "doctor.fix" in capsys.readouterr().err
