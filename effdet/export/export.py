"""The flow: fold, write to a draft, open it in its own runtime, compare, and only then move it where the user wants it."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbones.spec import ExternalSpec
from effdet.export.formats import WRITERS, WriteJob
from effdet.export.gate import GateReport, Measure, Tolerance, check
from effdet.export.graph import ExportGraph, output_names
from effdet.export.settings import ExportSettings
from effdet.export.suppression import Suppression, torch_nms
from effdet.files import move_into_place, scratch_folder
from effdet.inference.exported import ExportInfo
from effdet.inference.runtime_model import RuntimeModel
from effdet.model import FoldedModel, VisionModel, fold
from effdet.model.build import level_widths
from effdet.tasks.detection import detector
from heads.detection import PostProcess
from heads.structures import UserError

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def export_model(
    model: VisionModel,
    path: str | os.PathLike[str],
    settings: ExportSettings,
    *,
    images: Tensor,
    calibration: Tensor | None = None,
    postprocess: Mapping[str, Any] | None = None,
    image_size: tuple[int, int] | None = None,
    tolerance: Tolerance | None = None,
    measure: Measure | None = None,
    threads: int | None = None,
    notify: Callable[[GateReport], None] = lambda report: None,
) -> GateReport:
    """Write `model` to `path`, if the file then says what the model says.

    Args:
        model: finished, not folded; it is left as it is.
        path: of the file; its suffix is that of the format.
        images: (N, 3, H, W) uint8 canvases that model and file are compared on.
        calibration: (N, 3, H, W) uint8 canvases that int8 measures its ranges on.
        postprocess: settings of the detection head to replace; in the graph with ``nms``, else the file's defaults.
        image_size: (height, width) of the graph's input; None for the model's own.
        tolerance: None for that of the precision.
        measure: predict function -> its metrics on a labelled set, to compare them too.
        threads: of the file's runtime in the comparison; None for torch's.
        notify: receives what was found, before it is evaluated.

    Raises:
        UserError: before any work: the format cannot hold what is asked for, or its packages are missing.
        GateError: the file differs by more than `tolerance`; nothing is left at `path`.
    """
    target = Path(path).expanduser()
    if target.suffix != settings.kind.suffix:
        raise UserError(f"out={target}: a file of format={settings.format} ends in {settings.kind.suffix}")
    settings.check_installed()
    spec = model.spec if image_size is None else model.spec.replace(preprocess=model.preprocess.fitted(image_size))
    name = detector(dict(model.heads.items()))
    head: Any = None if name is None else model.heads[name]
    if head is None and (settings.nms or postprocess):
        raise UserError(
            "nms, score_threshold, nms_iou and max_detections belong to a detection head; this model has none"
        )
    if head is not None:
        chosen = PostProcess(**{**asdict(head.postprocess), **(postprocess or {})})
    info = ExportInfo(
        spec=spec,
        outputs=(),
        precision=settings.precision,
        nms=settings.nms,
        normalise=settings.normalise,
        batch=settings.batch_size,
        dynamic_size=settings.dynamic_size,
        postprocess={} if head is None else asdict(chosen),
        widths=level_widths(model.backbone, model.neck) if isinstance(spec.backbone, ExternalSpec) else None,
    )
    folded = _folded(model, settings)
    info = replace(info, outputs=output_names(folded, info))
    suppression: Suppression | None = None
    if name is not None and settings.nms:
        nms = torch_nms
        if settings.format in ("onnx", "openvino"):
            from effdet.export.onnx_graph import onnx_nms as nms  # defines an operator of torch
        named = spec.classes[name].named
        suppression = Suppression(PostProcess(**info.postprocess), named, nms, any_size=info.dynamic_size)
    graph = ExportGraph(
        folded,
        normalise=settings.normalise,
        suppression=suppression,
        channels_last=settings.format == "openvino",
    ).eval()
    with scratch_folder(target.parent) as directory:
        draft = directory / target.name
        WRITERS[settings.format](WriteJob(graph, info, draft, calibration))
        del graph
        opened = RuntimeModel.open(draft, threads=threads, trust=True)
        report = check(model, opened, images, tolerance or Tolerance.of(settings.precision), measure)
        notify(report)
        report.raise_if_failed(target)
        del opened
        # The file that names the format comes last, so that it never stands there without the others.
        for file in sorted(directory.iterdir(), key=lambda file: file.name == target.name):
            move_into_place(file, target.parent / file.name)
    return report


def _folded(model: VisionModel, settings: ExportSettings) -> FoldedModel:
    """On the CPU, in the number format of the file. ONNX-born files of bf16 and int8 start from float32."""
    folded = fold(copy.deepcopy(model).cpu().eval())
    dtype = DTYPES.get(settings.precision)
    if dtype is None or settings.format == "openvino":
        return folded.float()
    return folded.to(dtype)
