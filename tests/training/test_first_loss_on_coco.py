"""From random weights on COCO images: pre-flight passes and the first loss is the prior's, whatever the batch.

EFFDET_TEST_OWN_SIZE=1 computes at each model's own input size (512 to 896 px), which takes several times as long as 384 px.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from effdet.cli.data import loader_factory, open_splits
from effdet.cli.models import class_tables, model_spec
from effdet.data.collate import collate
from effdet.data.train_set import Sample
from effdet.model import build
from effdet.training.preflight import preflight
from tests.cli.conftest import composed

SIZE = () if os.environ.get("EFFDET_TEST_OWN_SIZE") else ("image_size=384",)


def first_batches(samples: Sequence[Sample]) -> dict[int, list[Sample]]:
    """Batches of four without a box, with one, and with the most boxes, by their number of boxes."""
    few, many = (
        sorted(samples, key=lambda sample: len(sample.boxes))[:4],
        sorted(samples, key=lambda s: -len(s.boxes))[:4],
    )
    none = [replace(sample, boxes=sample.boxes[:0], labels=sample.labels[:0]) for sample in few]
    single = next(sample for sample in samples if len(sample.boxes) >= 1)
    one = [replace(single, boxes=single.boxes[:1], labels=single.labels[:1]), *none[1:]]
    return {sum(len(sample.boxes) for sample in batch): batch for batch in (none, one, many)}


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("model", ["phi=-4", "backbone=b0", "backbone=b1", "backbone=b2", "backbone=b3"])
def test_first_loss(model, seed, data_root):
    root = data_root / "coco"
    config = composed(
        "train", model, "data=coco", f"data.root={root}", "weights=none", f"seed={seed}", "max_images=48", *SIZE
    )
    train = open_splits(config, "train", requested=config.task.needs)[0]
    torch.manual_seed(seed)
    detector = build(model_spec(config, classes=class_tables(train, config)))
    train_set = loader_factory(config, train, detector, workers=0, cuda=False)(batch_size=4, rank=0, world=1).train_set  # type: ignore[attr-defined]
    batches = first_batches([train_set[(0, index)] for index in range(24)])
    assert set(batches) >= {0, 1} and max(batches) >= 60
    for boxes, batch in batches.items():
        found = preflight(detector, collate(batch))
        ratio = found.first["detection/class"] / found.expected["detection/class"]
        print(f"{model} seed {seed}, {boxes} boxes: {found}, ratio {ratio:.4f}")
        assert ratio == pytest.approx(1, abs=0.2), boxes
