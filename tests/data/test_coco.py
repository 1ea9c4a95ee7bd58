"""COCO files, valid and broken."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest
from PIL import Image

from effdet.data import DataError, DataSpec, Findings, open_dataset


def opened(root, **changes):
    return open_dataset(DataSpec("coco", root=root, **changes))


def test_records(coco_set):
    source = opened(coco_set())
    assert source.classes.names == ("car", "person")
    assert source.classes.ids == (3, 7)
    assert [record.image_id for record in source.records] == [10, 11, 12, 13]
    record = source.records[1]
    assert record.size == (48, 64)
    assert record.boxes.tolist() == [[6, 7, 26, 23]]
    assert record.boxes.dtype == np.float32
    assert record.labels.tolist() == [1]
    assert record.area.tolist() == [320]
    assert record.annotation_ids.tolist() == [101]
    assert source.read_image(record)[10, 10].tolist() == [255, 255, 255]
    assert source.warnings == []


def test_images_are_sorted_by_id_and_empty_ones_count(coco_set):
    def edit(content):
        content["images"].reverse()
        content["annotations"] = content["annotations"][1:3][::-1]

    source = opened(coco_set(edit=edit))
    assert [len(record.boxes) for record in source.records] == [0, 1, 1, 0]
    assert len(source.coco()["images"]) == 4
    assert source.records[0].boxes.shape == (0, 4)


def test_ids_from_zero(coco_set):
    def edit(content):
        for key in ("images", "annotations", "categories"):
            for index, item in enumerate(content[key]):
                item["id"] = index
        for index, annotation in enumerate(content["annotations"]):
            annotation.update(image_id=index, category_id=index % 2)

    source = opened(coco_set(edit=edit))
    truth = source.coco()
    assert [annotation["id"] for annotation in truth["annotations"]] == [1, 2, 3, 4]
    assert [annotation["image_id"] for annotation in truth["annotations"]] == [0, 1, 2, 3]
    assert {annotation["category_id"] for annotation in truth["annotations"]} == {0, 1}
    assert "pycocotools reads 0 as unmatched" in source.warnings[0]
    assert perfect_ap(truth) == 1


def perfect_ap(truth) -> float:
    """AP by pycocotools of the truth fed back as predictions."""
    pycocotools = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    with redirect_stdout(StringIO()):
        coco = pycocotools.COCO()
        coco.dataset = truth
        coco.createIndex()
        results = [{**annotation, "score": 0.9} for annotation in truth["annotations"] if not annotation["iscrowd"]]
        evaluator = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator.stats[0]


def test_crowds_and_areas(coco_set):
    def edit(content):
        content["annotations"][0].update(iscrowd=1, area=77.5)
        del content["annotations"][1]["area"]

    source = opened(coco_set(edit=edit))
    assert source.records[0].crowd.tolist() == [True]
    truth = source.coco()["annotations"]
    assert (truth[0]["iscrowd"], truth[0]["area"]) == (1, 77.5)
    assert truth[1]["area"] == 320


def test_size_is_read_from_the_file_where_it_is_not_stated(coco_set):
    def edit(content):
        for image in content["images"]:
            image.pop("height")
            image["width"] = 0 if image["id"] == 10 else image["width"]

    assert [record.size for record in opened(coco_set(edit=edit)).records] == [(48, 64)] * 4


def test_size_as_stored_keeps_the_stored_frame(coco_set):
    root = coco_set(1)
    tags = Image.Exif()
    tags[0x0112] = 6
    Image.open(root / "train2017/000.png").save(root / "train2017/000.png", exif=tags)
    source = opened(root)
    assert source.read_image(source.records[0]).shape == (48, 64, 3)


def test_grey_image(coco_set):
    root = coco_set(1)
    Image.open(root / "train2017/000.png").convert("L").save(root / "train2017/000.png")
    source = opened(root)
    assert source.read_image(source.records[0]).shape == (48, 64, 3)


def test_degenerate_boxes_are_left_out_and_counted(coco_set):
    def edit(content):
        boxes = [[5, 5, 0, 10], [5, 5, 10, -3], [70, 5, 10, 10], [60, 40, 20, 20]]
        for annotation, box in zip(content["annotations"], boxes, strict=True):
            annotation.update(bbox=box, area=max(0, box[2] * box[3]))

    source = opened(coco_set(edit=edit))
    assert [len(record.boxes) for record in source.records] == [0, 0, 0, 1]
    assert source.records[3].boxes.tolist() == [[60, 40, 64, 48]]
    assert len(source.warnings) == 4
    assert source.warnings[0].startswith("1 × zero-area (first: ")
    assert "annotation 100: box [5, 5, 0, 10] (x y w h) has no area: left out" in source.warnings[0]
    assert "leaves its 64×48 image: clipped" in source.warnings[3]
    assert [annotation["bbox"] for annotation in source.coco()["annotations"]] == [[60, 40, 4, 8]]


def test_rounding_overhang_is_kept_as_given_in_the_truth(coco_set):
    def edit(content):
        content["annotations"][0]["bbox"] = [40.123456789, 6, 24.5, 16]

    source = opened(coco_set(edit=edit))
    assert source.warnings == []
    assert source.coco()["annotations"][0]["bbox"] == [40.123456789, 6, 24.5, 16]
    assert source.records[0].boxes[0, 2] == 64


def test_all_problems_at_once(coco_set):
    def edit(content):
        content["annotations"][0]["category_id"] = 99
        content["annotations"][1]["image_id"] = 5
        content["annotations"][2]["bbox"] = [1, 2, 3]
        content["annotations"][3]["bbox"] = [1, 2, float("nan"), 4]
        content["images"][3]["width"] = 65
        content["images"].append({"id": 50, "file_name": "gone.png", "height": 4, "width": 4})

    root = coco_set(edit=edit)
    with pytest.raises(DataError) as caught:
        opened(root)
    text = str(caught.value)
    for part in (
        "annotation 100: category_id 99 is not among the categories",
        "annotation 101: image_id 5 is not among the images",
        "annotation 102: bbox must be 4 numbers",
        "the set says 65×48 (width × height), the file has 64×48",
        "gone.png: no such image",
    ):
        assert part in text
    assert text.startswith("data=coco split=train: 5 problems")


def test_many_problems_are_counted(coco_set):
    def edit(content):
        content["annotations"] = [
            {**content["annotations"][0], "id": index, "category_id": 1} for index in range(1, 31)
        ]

    with pytest.raises(DataError, match="30 problems") as caught:
        opened(coco_set(edit=edit))
    assert len(str(caught.value).splitlines()) == 12
    assert "and 20 more" in str(caught.value)


def test_findings_are_handed_out_instead_of_raised(coco_set):
    def edit(content):
        content["annotations"][0]["category_id"] = 99

    findings = Findings()
    source = open_dataset(DataSpec("coco", root=coco_set(edit=edit)), findings=findings)
    assert [(finding.kind, finding.item) for finding in findings.errors] == [("unknown-category", "annotation 100")]
    assert [len(record.boxes) for record in source.records] == [0, 1, 1, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "looks like COCO results"),
        ('{"images": []}', "no list 'annotations', 'categories'"),
        ("3", "no list 'images'"),
        ("[" * 100_000, "not JSON"),
        (b"\xff\xfe\x00", "is not UTF-16"),
        (b'{"images": "\xdf"}', "0xdf at position 12 .* is not UTF-8"),
    ],
)
def test_files_that_are_no_annotations(coco_set, content, message):
    root = coco_set(1)
    path = root / "annotations/instances_train2017.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        opened(root)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda content: content["categories"][1].update(id=3), "id 3 is taken by 'car'"),
        (
            lambda content: content["categories"][1].update(name=" car"),
            "'car' is also the name of category 3: rename one",
        ),
        (lambda content: content["categories"][1].pop("name"), "needs a whole-number id and a name"),
        (lambda content: content["images"][1].update(id=10), "id 10 is taken by '000.png'"),
        (lambda content: content["images"][1].update(id="x"), "needs a whole-number id and a file_name"),
        (lambda content: content["annotations"].__setitem__(0, None), r"annotations\[0\]: is not an object"),
        (lambda content: content["annotations"].clear(), "no box to learn from"),
        (lambda content: (content["images"].clear(), content["annotations"].clear()), "no image"),
        (lambda content: content["annotations"][0].update(category_id=True), "category_id must be a whole number"),
        (lambda content: content["images"][0].update(id=2**70), "needs a whole-number id"),
        (lambda content: content["categories"].clear(), "'categories' is empty"),
    ],
)
def test_one_problem_is_one_line(coco_set, edit, message):
    root = coco_set(edit=edit)
    with pytest.raises(DataError, match=message):
        opened(root)


def test_only_crowds_leave_nothing_to_learn(coco_set):
    def edit(content):
        for annotation in content["annotations"]:
            annotation["iscrowd"] = 1

    root = coco_set(edit=edit)
    with pytest.raises(DataError, match="^data=coco split=train: 4 images, but no box to learn from"):
        opened(root)


def test_named_files(coco_set, tmp_path):
    root = coco_set(2, split="val")
    source = open_dataset(
        DataSpec("coco", train_images=root / "val2017", train_annotations=root / "annotations/instances_val2017.json")
    )
    assert len(source) == 2
    with pytest.raises(DataError, match=r"data.train_annotations=.*none.json is not a file"):
        open_dataset(DataSpec("coco", train_annotations=tmp_path / "none.json"))
    with pytest.raises(DataError, match=r"data.train_images=.*none is not a folder"):
        open_dataset(
            DataSpec("coco", train_images=root / "none", train_annotations=root / "annotations/instances_val2017.json")
        )


def test_images_are_found_by_the_names_in_the_file(coco_set):
    def edit(content):
        for image in content["images"]:
            image["file_name"] = f"train2017\\{image['file_name']}"

    source = opened(coco_set(edit=edit))
    assert source.records[0].file_name == "train2017/000.png"
    assert source.records[0].image.is_file()


def test_images_beside_their_json(coco_set):
    root = coco_set(2)
    (root / "train2017").rename(root / "valid")
    (root / "annotations/instances_train2017.json").rename(root / "valid/_annotations.coco.json")
    assert len(opened(root, split="val")) == 2


def test_what_is_not_there(coco_set, tmp_path):
    root = coco_set(2)
    with pytest.raises(DataError, match=r"no annotations/instances_val\*.json.*data.val_fraction=0.1"):
        opened(root, split="val")
    with pytest.raises(DataError, match="is not a folder"):
        opened(tmp_path / "nowhere")
    with pytest.raises(DataError, match="say where it lies"):
        open_dataset(DataSpec("coco"))
    (root / "train2017").rename(root / "elsewhere")
    with pytest.raises(DataError, match=r"no image of .* found, such as '000.png'"):
        opened(root)


def test_two_files_that_fit(coco_set):
    root = coco_set(2)
    path = root / "annotations/instances_train2017.json"
    path.with_name("instances_train2014.json").write_text(path.read_text())
    assert len(opened(root)) == 2  # 2017 is the one that is meant
    path.rename(path.with_name("instances_train2015.json"))
    with pytest.raises(DataError, match=r"instances_train2014.json, instances_train2015.json all fit"):
        opened(root)


@pytest.mark.data
@pytest.mark.parametrize(("split", "images", "boxes", "crowds"), [("train", 200, 1815, None), ("val", 206, 1786, 21)])
def test_official_files(data_root, split, images, boxes, crowds):
    root = data_root / "coco"
    source = opened(root, split=split)
    content = json.loads((root / f"annotations/instances_{split}2017.json").read_text())
    assert source.warnings == []
    assert len(source) == images
    assert len(source.classes) == 80
    truth = {annotation["id"]: annotation for annotation in source.coco()["annotations"]}
    assert len(truth) == boxes
    assert crowds is None or sum(annotation["iscrowd"] for annotation in truth.values()) == crowds
    for annotation in content["annotations"]:  # what pycocotools would be given, to the last digit
        assert all(
            truth[annotation["id"]][key] == annotation[key] for key in ("image_id", "category_id", "bbox", "area")
        )
