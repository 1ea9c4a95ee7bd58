"""The examination as a whole: kinds, processes, splits, files, and real sets."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import effdet
from effdet.data import DataError, DataSpec, open_dataset
from effdet.doctor import ISSUE_TYPES, CoverageSettings, examine, page_of, repair
from effdet.doctor import scan as scan_module
from effdet.doctor.facts import Facts
from effdet.doctor.issues import KEPT, Issues
from effdet.preprocess import Preprocess
from tests.doctor import sets

SETTINGS = CoverageSettings(Preprocess((128, 128)))


def test_every_kind_that_a_reader_finds_is_known() -> None:
    package = Path(effdet.__file__).parent
    used: set[str] = set()
    for path in [*(package / "data").rglob("*.py"), *(package / "doctor").rglob("*.py")]:
        text = path.read_text()
        used |= set(re.findall(r'(?:findings|collected)\.(?:error|warning)\(\s*"([a-z0-9-]+)"', text))
        used |= set(re.findall(r'(?:issues\.note|\bnote)\(\s*"([a-z0-9-]+)"', text))
        used |= set(re.findall(r'[^.]\bkind="([a-z]+-[a-z0-9-]+)"', text))
    assert used - ISSUE_TYPES.keys() == set()
    assert all(kind.advice.endswith((".", ")")) for kind in ISSUE_TYPES.values())


def test_every_kind_is_in_the_docs() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
    listed = dict(re.findall(r"^\| `([a-z0-9-]+)` \| (error|warning|note) \|", docs, re.MULTILINE))
    assert listed == {name: kind.level for name, kind in ISSUE_TYPES.items()}


def test_processes_find_what_one_finds(tmp_path: Path) -> None:
    sets.coco(tmp_path)
    (tmp_path / "train2017" / "train_1.png").write_bytes(b"no image")
    alone, together = (
        examine(DataSpec("coco", tmp_path), coverage=SETTINGS, workers=workers, progress=False) for workers in (0, 2)
    )
    assert [issue.to_dict() for issue in alone.issues] == [issue.to_dict() for issue in together.issues]
    assert [facts.pixels for facts in alone.seen[0].facts] == [facts.pixels for facts in together.seen[0].facts]


def _kill_on_train_1(path: Path) -> Facts:
    import os

    if path.name == "train_1.png":
        os._exit(9)
    return Facts(pixels=str(path).encode())


def test_an_image_that_kills_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets.coco(tmp_path)
    monkeypatch.setattr(scan_module, "look", _kill_on_train_1)
    found = examine(DataSpec("coco", tmp_path), workers=2, progress=False)
    (issue,) = found.issues.of("corrupt-image")
    assert Path(issue.file).name == "train_1.png"


def test_one_split_and_a_limit(tmp_path: Path) -> None:
    sets.coco(tmp_path)
    found = examine(DataSpec("coco", tmp_path), split="val", workers=0, progress=False)
    assert [split.name for split in found.splits] == ["val"]
    limited = examine(DataSpec("coco", tmp_path, max_images=1), workers=0, progress=False)
    assert limited.images == 2


def test_a_part_held_out_is_a_split(tmp_path: Path) -> None:
    """Under data.val_fraction the same image twice in train may be in both parts."""
    sets.coco(tmp_path)
    names = [f"train_{index}.png" for index in range(5)]
    data = (tmp_path / "train2017" / names[0]).read_bytes()
    for name in names:
        (tmp_path / "train2017" / name).write_bytes(data)
    found = examine(DataSpec("coco", tmp_path, val_fraction=0.5), workers=0, progress=False)
    sides = found.splits[0].sides.tolist()
    assert set(sides) == {"train", "val"}
    across = sum(side != sides[0] for side in sides)
    assert found.issues.counts["split-leak"] == across > 0


def test_a_set_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="data.root"):
        examine(DataSpec("coco", tmp_path / "none"), progress=False)
    with pytest.raises(DataError, match="no annotations/instances"):
        examine(DataSpec("coco", tmp_path), progress=False)
    with pytest.raises(DataError, match="not a known set"):
        examine(DataSpec("cocoa", tmp_path), progress=False)


def test_the_files_that_are_written(tmp_path: Path) -> None:
    sets.coco(tmp_path / "set")
    sets.edit_json(tmp_path / "set", lambda content: content["annotations"][0].update(bbox=[1, 2, 0, 0]))
    found = examine(DataSpec("coco", tmp_path / "set"), coverage=SETTINGS, workers=0, progress=False)
    written = json.loads(found.write_json(tmp_path / "out" / "doctor.json").read_text())
    assert written["totals"]["error"] == 1
    (finding,) = [finding for finding in written["findings"] if finding["level"] == "error"]
    assert (finding["kind"], finding["item"], finding["box"]) == ("zero-area", "annotation 101", [1, 2, 0, 0])
    assert written["anchors"]["groups"][0]["boxes"] == 19
    page = page_of(found).write(tmp_path / "out" / "doctor.html").read_text()
    assert "zero-area" in page and "annotation 101" in page and "data:image/jpeg" in page
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["doctor.html", "doctor.json"]


def directories(root: Path) -> None:
    """A folder for each class; only train and val."""
    for split, name, seed in sets.images():
        for label, kind in enumerate(sets.NAMES):
            sets.save(root / split / kind / name, 2 * seed + 100 * label)


def test_whole_images(tmp_path: Path) -> None:
    directories(tmp_path)
    clean = examine(DataSpec("folder", tmp_path), workers=0, progress=False)
    assert set(clean.issues.counts) == {"rare-class"}
    (tmp_path / "train/car/train_1.png").write_bytes(b"")
    (tmp_path / "val/car/copy.png").write_bytes((tmp_path / "train/car/train_2.png").read_bytes())
    found = examine(DataSpec("folder", tmp_path), workers=0, progress=False).issues
    named = {(issue.kind, Path(issue.file).name) for issue in found if found.kind(issue.kind).level == "error"}
    assert named == {("unreadable-image", "train_1.png"), ("split-leak", "copy.png")}


def test_images_inside_archives(tmp_path: Path) -> None:
    """Shards are read through their source, and named by it."""
    from effdet.data.shards import write_shards

    sets.coco(tmp_path / "set")
    for split in sets.COUNTS:
        write_shards(open_dataset(DataSpec("coco", tmp_path / "set", split=split)), tmp_path / "shards")
    found = examine(DataSpec("shards", tmp_path / "shards"), coverage=SETTINGS, workers=0, progress=False)
    assert (found.images, found.boxes, dict(found.issues.counts)) == (7, 28, {})


def test_repair_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    sets.masks(tmp_path / "masks")
    found = examine(DataSpec("masks", tmp_path / "masks"), workers=0, progress=False)
    with pytest.raises(DataError, match="only coco, voc, yolo"):
        repair(found, tmp_path / "out")
    sets.coco(tmp_path / "coco")
    found = examine(DataSpec("coco", tmp_path / "coco"), workers=0, progress=False)
    with pytest.raises(DataError, match="is there already"):
        repair(found, tmp_path / "coco")


def test_findings_are_counted_beyond_what_is_kept() -> None:
    issues = Issues()
    for number in range(KEPT + 5):
        issues.note("tiny-box", "file", "text", item=f"annotation {number}")
    assert (issues.counts["tiny-box"], len(issues.of("tiny-box"))) == (KEPT + 5, KEPT)
    issues.note("zero-area", "file", "text")
    issues.note("zero-area", "file", "text")
    assert issues.issue_types() == ["zero-area", "tiny-box"]
    assert issues.total("error") == 1


@pytest.mark.data
@pytest.mark.parametrize(
    ("data", "directory", "errors"),
    [
        ("voc", "bccd", {"zero-area": 2}),
        ("coco", "coco", {}),
        ("camvid", "camvid", {}),
        ("cityscapes", "cityscapes", {}),
    ],
)
def test_real_sets(data: str, directory: str, errors: dict[str, int], data_root: Path) -> None:
    found = examine(
        DataSpec(data, data_root / directory), coverage=CoverageSettings(Preprocess((512, 512))), progress=False
    )
    grave = {name: count for name, count in found.issues.counts.items() if found.issues.kind(name).level == "error"}
    assert grave == errors
    if directory == "bccd":
        named = {(Path(issue.file).stem, issue.item) for issue in found.issues.of("zero-area")}
        assert named == {("BloodImage_00338", "object 13 (RBC)"), ("BloodImage_00343", "object 4 (RBC)")}


def test_streets(tmp_path: Path) -> None:
    from effdet import streets

    root = streets.ensure(128, train=8, val=4, test=2, root=tmp_path, workers=1, progress=False)
    found = examine(DataSpec("streets", root), coverage=SETTINGS, workers=0, progress=False)
    assert not found.fails("error"), [str(issue) for issue in found.issues]
