"""BDD100K's layouts: boxes by the owners' conversion, masks as trainIds, both as a mixed set."""

import json

import numpy as np
import pytest

from effdet.data import DataError, DataSpec, open_dataset


@pytest.fixture
def bdd(tmp_path, image, mask_file):
    """Two images with boxes, one with a mask, in today's layout; ``edit(frames)`` changes the file before."""

    def write(edit=lambda frames: None, listing="labels/det_20/det_train.json"):
        frames = [
            {
                "name": "b.jpg",
                "labels": [
                    {
                        "category": "motor",
                        "box2d": {"x1": 2, "y1": 3, "x2": 11, "y2": 12},
                        "attributes": {"crowd": False},
                    },
                    {"category": "other vehicle", "box2d": {"x1": 0, "y1": 0, "x2": 9, "y2": 4}},
                    {"category": "lane", "poly2d": []},
                ],
            },
            {"name": "a.jpg", "labels": None},
        ]
        edit(frames)
        for name in "ab":
            image(f"images/100k/train/{name}.jpg", size=(24, 32))
        image("images/10k/train/c.jpg", size=(24, 32))
        mask_file("labels/sem_seg/masks/train/c.png", np.array([[0] * 16 + [18] * 15 + [255]] * 24, np.uint8))
        path = tmp_path / listing
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(frames))
        return tmp_path

    return write


def opened(root, **settings):
    return open_dataset(DataSpec("bdd100k", root=root, **settings))


@pytest.mark.parametrize("listing", ["labels/det_20/det_train.json", "labels/bdd100k_labels_images_train.json"])
def test_boxes(bdd, listing):
    source = opened(bdd(listing=listing), requested=("boxes",))
    assert [record.file_name for record in source.records] == ["a.jpg", "b.jpg"]
    record = source.records[1]
    # Both corners belong to the object: x2 - x1 + 1 pixels.
    assert record.boxes.tolist() == [[2, 3, 12, 13], [0, 0, 10, 5]]
    assert [source.classes.names[label] for label in record.labels] == ["motorcycle", "car"]
    assert record.crowd.tolist() == [False, True]
    assert len(source.records[0].labels) == 0


def test_masks(bdd):
    source = opened(bdd(), requested=("semantic",))
    assert source.semantic_classes.names[18] == "bicycle"
    assert source.semantic_classes.ids == tuple(range(19))
    assert source.records.class_pixels[0, [0, 18]].tolist() == [16 * 24, 15 * 24]
    assert not source.records[0].has_boxes


def test_the_first_releases_masks(tmp_path, image, mask_file):
    image("bdd100k/seg/images/val/c.jpg", size=(4, 5))
    mask_file("bdd100k/seg/labels/val/c_train_id.png", np.full((4, 5), 2, np.uint8))
    source = opened(tmp_path, split="val", requested=("semantic",))
    assert source.records.class_pixels[0, 2] == 20


def test_both_are_a_mixed_set(bdd):
    source = opened(bdd())
    assert sorted(record.file_name for record in source.records) == ["a.jpg", "b.jpg", "c.jpg"]
    assert sum(record.has_boxes for record in source.records) == 2
    assert source.labelled == {"boxes", "semantic"}


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="det_20/det_train.json"):
        opened(tmp_path, requested=("boxes",))
    with pytest.raises(DataError, match="sem_seg/masks/train"):
        opened(tmp_path, requested=("semantic",))


def test_faults_are_reported_at_once(bdd):
    def spoil(frames):
        frames[0]["labels"][0]["category"] = "tram"
        frames[0]["labels"][1]["box2d"].pop("x2")
        frames.append({"name": "a.jpg"})
        frames.append({"name": "gone.jpg"})

    with pytest.raises(DataError) as caught:
        opened(bdd(spoil), requested=("boxes",))
    for message in ("category 'tram'", "numbers x1, y1, x2, y2", "listed twice", "gone.jpg: no such image"):
        assert message in str(caught.value)


def test_a_file_that_is_no_list(bdd, tmp_path):
    root = bdd()
    (root / "labels/det_20/det_train.json").write_text("{}")
    with pytest.raises(DataError, match="must be a list of frames"):
        opened(root, requested=("boxes",))
