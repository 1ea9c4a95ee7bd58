"""Whatever bytes stand in a set's files, a DataError is the only thing that comes out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from effdet.data import DataError, DataSpec, open_dataset, read_image

quick = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
numbers = st.one_of(
    st.integers(-5, 120), st.floats(), st.just(2**70), st.just(-(2**63)), st.none(), st.booleans(), st.text(max_size=3)
)
json_values = st.recursive(
    numbers,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
image = st.fixed_dictionaries(
    {}, optional={"id": numbers, "file_name": st.sampled_from(["a.png", "b.png", "", "\0", "../a.png", 3]),
                  "width": numbers, "height": numbers}
)  # fmt: skip
box = st.lists(numbers, min_size=3, max_size=5)
annotation = st.fixed_dictionaries(
    {}, optional={"id": numbers, "image_id": st.sampled_from([1, 2, 9, "1"]), "category_id": st.sampled_from([0, 1, 5, None]),
                  "bbox": box, "area": numbers, "iscrowd": numbers}
)  # fmt: skip
content = st.fixed_dictionaries(
    {
        "images": st.lists(image | json_values, max_size=3).map(lambda rows: [{"id": 1, "file_name": "a.png"}, *rows]),
        "annotations": st.lists(annotation | json_values, max_size=4),
        "categories": st.lists(
            st.fixed_dictionaries({"id": numbers, "name": st.text(max_size=3)}) | json_values, max_size=3
        ),
    }
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        for place in (tmp_path / "JPEGImages", tmp_path / "images/train", tmp_path / "train2017"):
            place.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (64, 48)).save(place / f"{name}.png")
    for name in ("annotations", "Annotations", "ImageSets/Main", "labels/train"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    (tmp_path / "ImageSets/Main/train.txt").write_text("a\nb\n")
    (tmp_path / "data.yaml").write_text("names: [x, y]\n")
    return tmp_path


def reads_or_refuses(name: str, root: Path) -> None:
    try:
        source = open_dataset(DataSpec(name, root=root))
    except DataError as error:
        assert len(str(error).splitlines()) <= 12
        return
    for record in source.records:
        assert (record.boxes[:, 2:] > record.boxes[:, :2]).all()
        assert (record.boxes >= 0).all()
        assert (record.boxes <= [record.width, record.height] * 2).all()
        assert ((record.labels >= 0) & (record.labels < len(source.classes))).all()
    json.dumps(source.coco(), allow_nan=False)


@quick
@given(content | json_values)
def test_coco(directory, content):
    (directory / "annotations/instances_train2017.json").write_text(json.dumps(content))
    reads_or_refuses("coco", directory)


@quick
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["dog", "", "a&amp;b"]),
            st.lists(st.one_of(st.floats(-9, 99), st.text(max_size=3)), min_size=3, max_size=4),
        ),
        max_size=3,
    )
)
def test_voc(directory, objects):
    def tag(name: str, value: object) -> str:
        return f"<{name}>{value}</{name}>"

    def corners(values: list[object]) -> str:
        return "".join(map(tag, ("xmin", "ymin", "xmax", "ymax"), values))

    rows = [tag("object", tag("name", name) + tag("bndbox", corners(values))) for name, values in objects]
    (directory / "Annotations/a.xml").write_text(tag("annotation", "".join(rows)))
    (directory / "Annotations/b.xml").write_text("<annotation/>")
    reads_or_refuses("voc", directory)


@quick
@given(st.binary(max_size=80))
def test_bytes(directory, content):
    (directory / "annotations/instances_train2017.json").write_bytes(content)
    (directory / "Annotations/a.xml").write_bytes(content)
    (directory / "Annotations/b.xml").write_bytes(b"<annotation/>")
    (directory / "labels/train/a.txt").write_bytes(content)
    for name in ("coco", "voc", "yolo"):
        reads_or_refuses(name, directory)


@quick
@given(
    st.lists(st.lists(st.one_of(st.integers(-2, 3), st.floats(), st.text("x.-e ", max_size=3)), max_size=7), max_size=3)
)
def test_yolo(directory, rows):
    (directory / "labels/train/a.txt").write_text("\n".join(" ".join(str(text) for text in row) for row in rows))
    reads_or_refuses("yolo", directory)


@quick
@given(st.text("names:train[]{}|&*- 01ab\n", max_size=40))
def test_yaml(directory, text):
    (directory / "data.yaml").write_text(text)
    reads_or_refuses("yolo", directory)


@quick
@given(data=st.data(), suffix=st.sampled_from(["jpg", "png", "gif", "bmp", "webp", "tif"]))
def test_images(tmp_path, data, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.arange(24 * 32 * 3, dtype=np.uint32).astype(np.uint8).reshape(24, 32, 3)).save(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    for on_error, at_least in (("error", None), ("warn", None), ("error", (10, 10)), ("warn", (24, 32))):
        try:
            assert read_image(path, on_error=on_error, at_least=at_least).dtype == np.uint8
        except DataError as error:
            assert len(str(error).splitlines()) == 1
