"""What an error names as its remedy works: the key is one of the set, and doing what the line says opens the set."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from effdet.cli.app import OK, main
from effdet.data import OPENERS, DataError, DataSpec, open_dataset
from effdet.data.spec import SPLITS
from tests.data.test_voc import xml

CONF = Path(__file__).parents[2] / "conf" / "data"
KEY = re.compile(r"data\.(\w+)=(?:DIR|FILE|PATH|0\.1)")


def image(path: Path, seed: int, size: tuple[int, int] = (32, 48)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)).save(path)


def mask(path: Path, first: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.tile(np.arange(first, first + 2, dtype=np.uint8), (32, 24))).save(path)


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def frames(*names: str) -> str:
    box = {"x1": 2, "y1": 2, "x2": 20, "y2": 20}
    return json.dumps([{"name": name, "labels": [{"category": "car", "box2d": box}]} for name in names])


def coco(*names: str) -> str:
    rows = [{"id": place + 1, "file_name": name, "width": 48, "height": 32} for place, name in enumerate(names)]
    boxes = [
        {"id": row["id"], "image_id": row["id"], "category_id": 1, "bbox": [2, 2, 9, 9], "area": 81, "iscrowd": 0}
        for row in rows
    ]
    return json.dumps({"images": rows, "annotations": boxes, "categories": [{"id": 1, "name": "car"}]})


def elsewhere(directory: Path) -> dict[str, dict[str, Any]]:
    """Images and annotations of each set, in folders where nobody looks; by set the values for the keys of messages."""
    image(directory / "pics/a.png", 1)
    image(directory / "pics/b.png", 2)
    image(directory / "folders/car/a.png", 1)
    image(directory / "cities/x_leftImg8bit.png", 1)
    mask(directory / "fine/x_gtFine_labelIds.png", 7)
    for name in "ab":
        mask(directory / f"maps/{name}.png")
        text(directory / f"xmls/{name}.xml", xml(("dog", 2, 2, 21, 21, 0), size=(32, 48)))
        text(directory / f"txts/{name}.txt", "0 .5 .5 .5 .5\n")
    text(directory / "det.json", frames("a.png", "b.png"))
    text(directory / "boxes.json", coco("a.png", "b.png"))
    text(directory / "list.csv", "../pics/a.png,car\n" + str(directory / "pics/b.png") + ",dog\n")
    (directory / "root").mkdir()

    def named(images: str, annotations: str) -> dict[str, Any]:
        return {"images": directory / images, "annotations": directory / annotations}

    return {
        "bdd100k": named("pics", "det.json"),
        "bdd100k-masks": named("pics", "maps"),
        "camvid": named("pics", "maps"),
        "cityscapes": named("cities", "fine"),
        "coco": named("pics", "boxes.json"),
        "csv": named("folders", "list.csv"),
        "folder": named("folders", ""),
        "masks": named("pics", "maps"),
        "voc": named("pics", "xmls"),
        "yolo": named("pics", "txts"),
    }


OPTIONS = {
    "bdd100k": {"requested": ("boxes",)},
    "bdd100k-masks": {"requested": ("semantic",)},
    "cityscapes": {"requested": ("semantic",)},
    "masks": {"classes": ["a", "b"]},
    "yolo": {"classes": ["a"]},
}


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize(
    "name", ["bdd100k", "bdd100k-masks", "camvid", "cityscapes", "coco", "csv", "folder", "masks", "voc", "yolo"]
)
def test_following_the_lines_opens_the_set(name: str, split: str, tmp_path: Path) -> None:
    values = elsewhere(tmp_path)[name]
    data = name.partition("-")[0]
    given: dict[str, Any] = {"root": tmp_path / "root", **OPTIONS.get(name, {})}
    said: list[str] = []
    for _ in range(4):
        try:
            source = open_dataset(DataSpec(data, split=split, **given))
            break
        except DataError as error:
            line = str(error)
            assert line not in said, "the same line comes back"
            said.append(line)
            keys = [key for key in KEY.findall(line) if key in (f"{split}_images", f"{split}_annotations")]
            assert keys or "no such image" in line, line
            # Where images are nowhere to be found, their key is the only one left.
            keys = keys or [f"{split}_images"]
            given |= {key: values[key.removeprefix(f"{split}_")] for key in keys}
    else:
        pytest.fail("\n".join(said))
    assert said and len(source) > 0
    # Without a root all is named.
    both = {f"{split}_{part}": value for part, value in values.items() if value.name}
    if name not in ("folder", "csv"):
        again = open_dataset(DataSpec(data, split=split, **both, **OPTIONS.get(name, {})))
        assert again.fingerprint() == source.fingerprint()


@pytest.mark.parametrize("name", sorted(OPENERS.keys() - {"mixed"}))
def test_keys_that_messages_name_are_keys_of_the_set(name: str) -> None:
    known = set(yaml.safe_load((CONF / f"{name}.yaml").read_text()))
    for split in SPLITS:
        spec = DataSpec(name, split=split)
        with pytest.raises(DataError) as caught:
            spec.need_root()
        said = re.findall(r"data\.(\w+)", str(caught.value))
        assert set(said) <= known, said
        lacks = str(spec.lacks_split("file"))
        assert set(re.findall(r"data\.(\w+)", lacks)) <= known, lacks


def test_a_mixed_set_names_its_own_keys(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    parts = {
        "boxes": {"name": "coco", "root": tmp_path / "root"},
        "masks": {"name": "camvid", "root": tmp_path / "root"},
    }
    with pytest.raises(DataError) as caught:
        open_dataset(DataSpec("mixed", split="val", **parts))  # type: ignore[arg-type]
    assert "data.boxes.val_annotations=FILE" in str(caught.value)
    assert "data.boxes.val_fraction=0.1" in str(caught.value)


@pytest.mark.parametrize("name", ["coco", "voc", "yolo"])
def test_named_files_without_a_root_are_no_fault(name: str, tmp_path: Path) -> None:
    values = elsewhere(tmp_path / "set")[name]
    overrides = [f"data.train_{part}={value}" for part, value in values.items()]
    overrides += ["data.classes=[a]"] if name == "yolo" else []
    out = tmp_path / "out"
    assert main(["doctor", f"data={name}", *overrides, "workers=0", "image_size=128", f"out={out}"]) == OK
    found = json.loads((out / "doctor.json").read_text())
    assert found["totals"]["error"] == 0
    notes = [finding["split"] for finding in found["findings"] if finding["kind"] == "missing-split"]
    assert notes == ["val", "test"]
    assert [finding["level"] for finding in found["findings"] if finding["kind"] == "missing-split"] == ["note"] * 2


def test_bdd100k_by_the_command(tmp_path: Path) -> None:
    values = elsewhere(tmp_path / "set")["bdd100k"]
    overrides = [f"data.train_{part}={value}" for part, value in values.items()]
    out = tmp_path / "out"
    assert (
        main(["doctor", "data=bdd100k", *overrides, "split=train", "workers=0", "image_size=128", f"out={out}"]) == OK
    )
    assert json.loads((out / "doctor.json").read_text())["splits"]["train"] == {"images": 2, "boxes": 2}
