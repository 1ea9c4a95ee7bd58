"""The loop with boxes and segmentation maps together, on a real reader's images; in shards too."""

import numpy as np
import pytest
from PIL import Image

from effdet.data import DataSpec, EvalSet, open_dataset
from effdet.evaluation import (
    ClassMapWriter,
    DetectionEvaluator,
    EvalBatch,
    SemanticEvaluator,
    evaluate,
    same_classes,
    write_results,
)
from effdet.preprocess import Preprocess
from effdet.tasks import kit_for, truth_predict_fn

truth = truth_predict_fn({name: kit_for(name) for name in ("detection", "semantic")})


@pytest.fixture
def dataset(tmp_path):
    """Three frames in Cityscapes' layout, of unequal sizes: road, and a car in each."""
    for index in range(3):
        shape = (30 + 4 * index, 40 - 5 * index)
        ids = np.full(shape, 7, np.uint8)
        ids[5:20, 3 : 20 - index] = 26
        ids[:2] = 0
        instances = np.where(ids == 26, 26000, ids.astype(np.uint16))
        for directory, suffix, pixels in (
            ("leftImg8bit", "leftImg8bit", np.repeat(ids[..., None], 3, 2)),
            ("gtFine", "gtFine_labelIds", ids),
            ("gtFine", "gtFine_instanceIds", instances),
        ):
            path = tmp_path / directory / "val" / "ulm" / f"ulm_000000_{index:06}_{suffix}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    source = open_dataset(DataSpec("cityscapes", root=tmp_path, split="val"))
    return EvalSet(source, Preprocess((32, 32)))


def by_head(dataset, **options):
    source = dataset.source
    return {
        "detection": DetectionEvaluator(source.coco(), same_classes(source.classes)),
        "semantic": SemanticEvaluator(same_classes(source.semantic_classes), **options),
    }


def test_the_truth_is_perfect_in_both_heads(dataset, tmp_path):
    write = ClassMapWriter(tmp_path / "maps", dataset.source.semantic_classes, void=dataset.source.void_id)
    found = evaluate(truth, dataset, evaluators=by_head(dataset, write=write), batch_size=2, progress=False)
    metrics = found.metrics
    assert metrics["AP"] == pytest.approx(1)
    assert [metrics[name] for name in ("mIoU", "miIoU", "category_mIoU", "category_miIoU", "pixel_accuracy")] == [1] * 5
    assert np.isnan(metrics["IoU"]["sky"])
    assert len(found.predictions) == 3
    written = sorted((tmp_path / "maps").rglob("*.png"))
    assert [path.name[:17] for path in written] == [f"ulm_000000_{index:06}" for index in range(3)]
    for path in written:
        own = (
            str(path)
            .replace(str(tmp_path / "maps"), str(tmp_path / "gtFine/val"))
            .replace("leftImg8bit", "gtFine_labelIds")
        )
        assert np.array_equal(np.array(Image.open(path)), np.array(Image.open(own)))
    paths = write_results(found, tmp_path / "out")
    assert paths[0].read_text().count('"confusion"') == 1


def test_shards_make_the_whole(dataset):
    whole, parts = by_head(dataset), [by_head(dataset) for _ in range(2)]

    def shifted(batch: EvalBatch):
        predictions = truth(batch)
        return {**predictions, "semantic": [np.roll(mask, 2, axis=1) for mask in predictions["semantic"]]}

    for rank, world, evaluators in ((0, 1, whole), (0, 2, parts[0]), (1, 2, parts[1])):
        for index in range(rank, len(dataset), world):
            batch = EvalBatch.of([(index, dataset[index])])
            for head, evaluator in evaluators.items():
                evaluator.update(shifted(batch)[head], batch)
    for head, evaluator in parts[0].items():
        evaluator.merge([part[head].state() for part in parts])
        assert str(evaluator.metrics()) == str(whole[head].metrics())  # as text, NaN is equal to itself
    assert 0.5 < whole["semantic"].metrics()["miIoU"] < 1


def test_images_without_masks_count_in_neither(dataset):
    batch = EvalBatch.of([(0, dataset[0])])
    bare = EvalBatch(batch.images, batch.geometries, batch.records, batch.indices, (None,), (None,))
    evaluator = by_head(dataset)["semantic"]
    evaluator.update(truth(bare)["semantic"], bare)
    assert np.isnan(evaluator.metrics()["mIoU"])
