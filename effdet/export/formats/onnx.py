"""ONNX, by PyTorch's exporter, and quantised by ONNX Runtime's own tools."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch

from effdet.export.formats import WriteJob
from effdet.export.onnx_nms import translations
from effdet.export.onnx_pads import absorb_pads
from effdet.export.program import export_program, quiet
from effdet.export.quantise import quantise
from effdet.inference.exported import INPUT, KEY
from heads.structures import UserError

OPSET = 18
"""The oldest that PyTorch's exporter writes without a conversion: the most runtimes read it."""


def write(job: WriteJob, *, in_float: Collection[str] = ()) -> None:
    """One file with its weights inside; `in_float`: operators that int8 leaves alone."""
    import onnx

    model = to_onnx(job)
    if job.info.precision == "int8":
        if job.calibration is None or not len(job.calibration):
            raise UserError("precision=int8 needs images to measure ranges on; give data=NAME or source=FOLDER")
        model = quantise(model, job.calibration, job.info, directory=job.path.parent, in_float=in_float)
    onnx.helper.set_model_props(model, {KEY: job.info.to_json()})
    onnx.save(model, str(job.path))


def to_onnx(job: WriteJob) -> Any:
    """``onnx.ModelProto`` in the graph's own precision."""
    import onnx

    program = export_program(job.graph, job.info)
    with quiet():
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(job.info.outputs),
            custom_translation_table=translations() if job.info.nms else None,
            verbose=False,
        )
    assert exported is not None
    model = exported.model_proto
    absorb_pads(model)
    _name_axes(model, job)
    onnx.checker.check_model(model)
    return model


def _name_axes(model: Any, job: WriteJob) -> None:
    """Say ``batch``, ``height``, ``width`` where the exporter has symbols such as s77."""
    free = {0: "batch"} if job.info.batch is None else {}
    if job.info.dynamic_size:
        free |= {2: "height", 3: "width"}
    axes = model.graph.input[0].type.tensor_type.shape.dim
    renamed = {axes[index].dim_param: name for index, name in free.items()}
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param in renamed:
                axis.dim_param = renamed[axis.dim_param]
