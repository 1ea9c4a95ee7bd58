"""From a name to a source."""

import pytest

from effdet.data import OPENERS, DataError, DataSpec, open_dataset


@pytest.mark.parametrize(
    ("name", "hint"), [("coc", "did you mean 'coco'"), ("yolov5", "did you mean 'yolo'"), ("qqq", "There are")]
)
def test_unknown_name(name, hint):
    with pytest.raises(DataError, match=hint) as caught:
        open_dataset(DataSpec(name))
    assert ", ".join(sorted(OPENERS)) in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"split": "vall"}, "split='vall' must be one of train, val, test"),
        ({"max_images": 0}, "max_images=0"),
        ({"difficult": "drop"}, "data.difficult=drop"),
    ],
)
def test_bad_spec(values, message):
    with pytest.raises(DataError, match=message):
        DataSpec("coco", **values)


def test_max_images_takes_the_first_by_image_id(coco_set):
    root = coco_set(5)
    assert [record.image_id for record in open_dataset(DataSpec("coco", root=root, max_images=2)).records] == [10, 11]
    assert len(open_dataset(DataSpec("coco", root=root, max_images=99))) == 5


def test_max_images_that_leaves_no_box(coco_set):
    root = coco_set(5, edit=lambda content: content["annotations"].pop(0))
    with pytest.raises(DataError, match="1 image, but no box"):
        open_dataset(DataSpec("coco", root=root, max_images=1))


def test_val_without_boxes_is_allowed(coco_set):
    root = coco_set(2, split="val", edit=lambda content: content["annotations"].clear())
    assert open_dataset(DataSpec("coco", root=root, split="val")).coco()["annotations"] == []


def test_paths_with_spaces_and_home(monkeypatch, coco_set, tmp_path):
    root = coco_set(2)
    odd = root.parent / "a b=ü,[1]"
    root.rename(odd)
    monkeypatch.setenv("HOME", str(odd.parent))
    assert len(open_dataset(DataSpec("coco", root=f"~/{odd.name}"))) == 2
