"""Segmentation maps as files: the data's own ids, named as the images; and the evaluator that feeds them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from effdet.evaluation import ClassMapWriter, SemanticEvaluator, join, same_classes
from heads.structures import ClassTable, UserError

DATA = ClassTable(("road", "car"), (7, 26))


class Batch(SimpleNamespace):
    def __len__(self) -> int:
        return len(self.masks)


def made(masks, instances=()) -> Batch:
    """A batch of one or two images."""
    records = [SimpleNamespace(file_name=name) for name in ("a/x_leftImg8bit.png", "y.jpg")]
    indices = tuple(range(len(masks)))
    return Batch(masks=tuple(masks), instances=tuple(instances), indices=indices, records=records[: len(masks)])


def test_ids_and_names(tmp_path):
    write = ClassMapWriter(tmp_path / "maps", DATA, void=0)
    write(SimpleNamespace(file_name="a/x_leftImg8bit.png"), np.array([[0, 1, 2]]))
    image = Image.open(tmp_path / "maps/a/x_leftImg8bit.png")
    assert image.mode == "L"
    assert np.array(image).tolist() == [[7, 26, 0]]
    assert [path.name for path in (tmp_path / "maps/a").iterdir()] == ["x_leftImg8bit.png"]


def test_ids_that_no_png_can_hold(tmp_path):
    with pytest.raises(UserError, match="8 bits a pixel"):
        ClassMapWriter(tmp_path, ClassTable(("a",), (300,)), void=255)


def test_every_image_is_written_and_only_true_maps_are_evaluated(tmp_path):
    model = ClassTable.of(("car", "zebra", "road"))
    evaluator = SemanticEvaluator(join(model, DATA), write=ClassMapWriter(tmp_path, DATA, void=0))
    truth = np.array([[0, 1, 255]], np.uint8)
    evaluator.update([torch.tensor([[2, 0, 0]]), np.array([[0, 1, 2]])], made(masks=[truth, None]))
    assert np.array(Image.open(tmp_path / "a/x_leftImg8bit.png")).tolist() == [[7, 26, 26]]
    assert np.array(Image.open(tmp_path / "y.png")).tolist() == [[26, 0, 7]]
    metrics = evaluator.metrics()
    assert metrics["mIoU"] == 1.0
    assert metrics["confusion"] == [[1, 0, 0], [0, 1, 0]]
    assert "iIoU" not in metrics


def test_objects_are_gathered_over_processes():
    rng = np.random.default_rng(0)
    truths = [rng.integers(0, 2, (4, 5)).astype(np.uint8) for _ in range(2)]
    objects = [np.where(truth == 1, 2000 + rng.integers(0, 2, truth.shape), 0) for truth in truths]
    guesses = [rng.integers(0, 2, (4, 5)) for _ in range(2)]
    whole = SemanticEvaluator(same_classes(DATA))
    whole.update(guesses, made(masks=truths, instances=objects))
    parts = [SemanticEvaluator(same_classes(DATA)) for _ in range(2)]
    for rank, part in enumerate(parts):
        one = made(masks=truths[rank : rank + 1], instances=objects[rank : rank + 1])
        one.indices = (rank,)
        part.update(guesses[rank : rank + 1], one)
    parts[0].merge([part.state() for part in reversed(parts)])
    assert parts[0].metrics() == whole.metrics()
    assert 0 < whole.metrics()["iIoU"]["car"] < 1


def test_two_images_of_one_name_and_names_that_leave_the_folder(tmp_path):
    """The user's own files are not written over, and no map replaces another image's."""
    source = tmp_path / "set" / "a.png"
    source.parent.mkdir()
    source.write_bytes(b"the user's image")
    write = ClassMapWriter(tmp_path / "out/maps", DATA, void=0)
    names = ["a/x.jpg", "a/x.png", "b/x.jpg", "../../set/a.png", str(source), "a/x.jpg"]
    for value, name in enumerate(names):
        write(SimpleNamespace(file_name=name), np.array([[value % 2]]))
    assert source.read_bytes() == b"the user's image"
    written = sorted(path.relative_to(tmp_path / "out/maps").as_posix() for path in tmp_path.rglob("maps/**/*.png"))
    inside = str(source).lstrip("/")
    assert written == sorted(["a/x.png", "a/x_2.png", "b/x.png", "set/a.png", inside])
