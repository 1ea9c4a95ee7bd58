"""The pre-flight of ``effdet train``: what it needs of data and evaluation, brought to :func:`effdet.training.preflight`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from effdet.cli.assemble import EVAL_BATCH, evaluated_heads
from effdet.data import EvalSet
from effdet.evaluation import Evaluator, ModelPredictFn, evaluate, same_classes
from effdet.model import VisionModel
from effdet.tasks import chief_metrics, truth_predict_fn
from effdet.tasks.detection import DetectionKit
from effdet.training.loader import LoaderFactory
from effdet.training.preflight import preflight
from effdet.training.starting import Detected, Start
from heads.structures import Batch

ORACLE_PICTURES = 200
"""As many pictures of val are scored against themselves; a fault in the annotations is rarely a single one."""
PREFLIGHT_BATCH = 4
PREFLIGHT_BATCHES = 8
"""So many batches are looked through for one that every head can learn from."""
DETECTED_IMAGES = 16
"""On so many images of val, spread over those with boxes of known classes, loaded weights must detect something."""


def check_flight(
    model: VisionModel,
    train_batches: LoaderFactory,
    dataset: EvalSet,
    *,
    start: Start,
    frozen: Sequence[str] = (),
    device: str,
) -> None:
    """The pre-flight: seconds, before hours.

    Args:
        start: what the weights brought.
        frozen: as ``freeze=`` names it.

    Raises:
        PreflightError: training would not work, and why.
    """

    def oracle() -> dict[str, float]:
        source = dataset.source
        kits = {name: kit for name, kit in evaluated_heads(model, source).items() if kit.has("truth")}
        kits = {name: kit for name, kit in kits.items() if kit.has_truth(source)}
        found = {name: kit.evaluator(source, same_classes(kit.classes(source))) for name, kit in kits.items()}
        made: dict[str, Evaluator] = {name: evaluator for name, evaluator in found.items() if evaluator is not None}
        if not made:
            return {}
        result = evaluate(
            truth_predict_fn({name: kits[name] for name in made}),
            dataset,
            evaluators=made,
            batch_size=EVAL_BATCH,
            limit=min(len(dataset), ORACLE_PICTURES),
            progress=False,
        )
        # Where an image holds more than COCO's 100 objects of a class, AP with a cap that fits stands beside COCO's.
        beyond = {name.partition("@")[0]: value for name, value in result.metrics.items() if name.startswith("AP@")}
        scores = {metric: float(beyond.get(metric, result.metrics[metric])) for metric in chief_metrics(kits)}
        return {metric: score for metric, score in scores.items() if score >= 0}  # -1 and NaN: nothing to score

    batch = _useful_batch(train_batches, model)
    found = preflight(
        model,
        batch,
        start=start,
        frozen=frozen,
        oracle=oracle,
        detected=lambda: detected(model, dataset, start, device=device),
        device=torch.device(device),
    )
    print(found)


def detected(model: VisionModel, dataset: EvalSet, start: Start, *, device: str) -> Detected | None:
    """What the first head that finds boxes finds before training of the classes that its weights brought, on a few images
    of `dataset` that have boxes of them.

    None where there are none.
    """
    source = dataset.source
    kits = [kit for kit in evaluated_heads(model, source).values() if kit.label == DetectionKit.label]
    kit = next((kit for kit in kits if start.carried.get(kit.name)), None)
    if kit is None:
        return None
    rows, joined = start.carried[kit.name], kit.join(model.classes[kit.name], source)
    classes = {joined.to_data[row] for row in rows} - {-1}
    table = source.records
    known = np.isin(table.labels, list(classes)) & ~table.crowd
    images = np.unique(np.searchsorted(table.starts, np.flatnonzero(known), side="right") - 1)
    if not len(images):
        return None
    chosen = source.subset(images[np.unique(np.linspace(0, len(images) - 1, DETECTED_IMAGES).round().astype(int))])
    evaluator = kit.evaluator(chosen, joined)
    if evaluator is None:
        return None
    result = evaluate(
        ModelPredictFn(model, device=device),
        EvalSet(chosen, dataset.preprocess),
        evaluators={kit.name: evaluator},
        batch_size=EVAL_BATCH,
        progress=False,
    )
    per_class = result.metrics["per_class"]
    own = [per_class[str(source.classes.names[index])] for index in sorted(classes)]
    measured = [row for row in own if row["AP"] >= 0]
    if not measured:
        return None
    boxes = sum(row["boxes"] for row in measured)
    return Detected(sum(row["AP"] for row in measured) / len(measured), len(chosen), boxes)


def _useful_batch(train_batches: LoaderFactory, model: VisionModel) -> Batch:
    """The first batch of a few that is labelled for every head that can say so; the very first where none is."""
    loader = train_batches(batch_size=PREFLIGHT_BATCH, rank=0, world=1)
    heads = [head for head in model.heads.values() if hasattr(head, "labelled")]
    first = None
    for number, batch in enumerate(loader):
        if all(bool(head.labelled(batch.targets)) for head in heads):  # type: ignore[operator]
            return batch
        first = first or batch
        if number + 1 >= PREFLIGHT_BATCHES:
            break
    assert first is not None
    return first
