import json

import numpy as np
import pytest
import torch
from PIL import Image

from effdet.inference import Prediction, Predictor
from effdet.model import build, fold, spec_for
from heads.structures import ClassTable, UserError
from tests.evaluation_fakes import CLASSES, FakeModel, FakeSet

SET = FakeSet(6)


def test_one_image():
    p = Predictor(FakeModel())(SET.image(2))
    assert p.boxes.shape == (1, 4) and p.boxes.dtype == np.float32
    assert p.boxes[0] == pytest.approx([8, 10, 18, 20], abs=1)
    assert p.scores == pytest.approx([0.9]) and p.labels.tolist() == [0] and p.names == ["car"]
    assert p.semantic is not None and p.semantic.shape == (40, 60) and p.semantic.dtype == np.uint8
    assert (p.semantic == (SET.image(2)[..., 0] > 0)).mean() > 0.97
    assert p.top(1) == [("car", pytest.approx(0.731, abs=1e-3))]
    assert p.size == (40, 60) and len(p) == 1 and p.path is None


@pytest.mark.parametrize("batch_size", [1, 2, 4, 100])
def test_a_list_gives_a_list_in_order(batch_size, tmp_path):
    images = [SET.image(index) for index in range(6)]
    Image.fromarray(images[3]).save(tmp_path / "3.png")
    mixed = [
        images[0],
        Image.fromarray(images[1]),
        torch.from_numpy(images[2]).permute(2, 0, 1),
        tmp_path / "3.png",
    ]
    predictor = Predictor(FakeModel(), batch_size=batch_size)
    found = predictor([*mixed, *images[4:]])
    assert isinstance(found, list) and len(found) == 6
    for index, p in enumerate(found):
        assert (p.boxes == predictor(images[index]).boxes).all()
    assert found[3].path == str(tmp_path / "3.png")
    assert predictor([]) == []


def test_stream_is_lazy():
    read = []

    def endless():
        index = 0
        while True:
            read.append(index)
            yield SET.image(index)
            index += 1

    stream = Predictor(FakeModel(), batch_size=2).stream(endless())
    next(stream)
    assert len(read) <= 4


def test_images_of_unequal_sizes():
    small, large = np.zeros((10, 90, 3), np.uint8), np.zeros((300, 200, 3), np.uint8)
    small[2:8, 40:50] = large[100:200, 20:150] = 255
    first, second = Predictor(FakeModel())([small, large])
    assert first.boxes[0] == pytest.approx([40, 2, 50, 8], abs=1.6)
    assert second.boxes[0] == pytest.approx([20, 100, 150, 200], abs=5)
    assert first.semantic is not None and first.semantic.shape == (10, 90)


def test_coco_and_dict():
    p = Predictor(FakeModel())(SET.image(1))
    (entry,) = p.to_coco(image_id=7)
    assert entry["image_id"] == 7 and entry["category_id"] == 3  # the owner's id of class 0
    assert entry["bbox"] == pytest.approx([4, 10, 10, 10], abs=1)
    found = json.loads(json.dumps(p.to_dict()))
    assert found["boxes"][0]["name"] == "car" and (found["height"], found["width"]) == (40, 60)
    assert sum(found["semantic"].values()) == pytest.approx(1)
    assert found["classes"][0]["name"] == "car"


def test_draw():
    p = Predictor(FakeModel())(SET.image(1))
    assert p.draw().size == (60, 40)
    assert p.draw(legend=True).height > 40
    assert p.draw(score_threshold=0.95) != p.draw(score_threshold=0.5)
    only = Predictor(FakeModel("classification"))(SET.image(1))
    assert only.draw().size == (60, 40) and only.boxes.shape == (0, 4)
    with pytest.raises(UserError, match="no classification head"):
        Predictor(FakeModel("detection"))(SET.image(1)).top()


def test_nothing_found():
    none = np.zeros(0, np.float32)
    p = Prediction(SET.image(0), none.reshape(0, 4), none, none.astype(np.int64), classes={"detection": CLASSES})
    assert p.to_coco(1) == [] and p.names == [] and p.to_dict()["boxes"] == [] and p.draw().size == (60, 40)
    assert p.above(0.5).boxes.shape == (0, 4)


def test_a_real_model_folded_and_not():
    torch.manual_seed(0)
    model = build(spec_for(task="detection", backbone="b0", classes=ClassTable.of(["a", "b"]), image_size=64)).eval()
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    p = Predictor(model)(image)
    q = Predictor(fold(model))(image)
    assert len(p) and (np.diff(p.scores) <= 0).all()
    assert (p.boxes >= 0).all() and (p.boxes <= [70, 50, 70, 50]).all()
    np.testing.assert_allclose(q.scores[:20], p.scores[:20], atol=1e-4)
    assert len(Predictor(model, max_detections=3)(image)) == 3
    assert len(Predictor(model, score_threshold=1.0)(image)) == 0
    assert Predictor(model, image_size=128)(image).boxes.shape[1] == 4


def test_single_against_batched_on_a_real_model():
    torch.manual_seed(1)
    model = build(spec_for(task="detection", backbone="lite0", num_classes=2, image_size=64)).eval()
    images = [np.random.default_rng(n).integers(0, 256, (40 + 10 * n, 60, 3), np.uint8) for n in range(3)]
    predictor = Predictor(model, score_threshold=0.01, max_detections=10)
    for one, many in zip([predictor(image) for image in images], predictor(images), strict=True):
        np.testing.assert_allclose(one.scores, many.scores, atol=1e-5)


def test_errors():
    with pytest.raises(UserError, match=r"batch_size \(=0\)"):
        Predictor(FakeModel(), batch_size=0)
    with pytest.raises(UserError, match="no/such"):
        Predictor(FakeModel())(["no/such.jpg"])
