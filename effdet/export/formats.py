"""Writers, one function a format: each lays the file at ``job.path``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from effdet.export.graph import ExportGraph, example, export_program, quiet
from effdet.export.quantise import quantise
from effdet.files import write_bytes, write_text
from effdet.inference.exported import INPUT, KEY, ExportInfo
from heads.structures import UserError

OPSET = 18
"""The oldest that PyTorch's exporter writes without a conversion: the most runtimes read it."""
IN_FLOAT = ("Sigmoid", "Mul")
"""SiLU and channel attention in int8 files: OpenVINO joins SiLU, in float, with the convolution before it. In int8 a D0 takes
1.4 times as long (measured), and its logits err by 1.8 times as much. ONNX Runtime is faster with all of it in int8."""


@dataclass(frozen=True)
class WriteJob:
    """What a writer is given."""

    graph: ExportGraph
    info: ExportInfo
    path: Path
    calibration: Tensor | None
    """(N, 3, H, W) uint8 images on the canvas, for int8."""


def write_torch_export(job: WriteJob) -> None:
    """``torch.export``: PyTorch's own graph, for Python, AOTInductor and what reads from it."""
    program = export_program(job.graph, job.info)
    with quiet():
        torch.export.save(program, job.path, extra_files={KEY: job.info.to_json()})


def write_torchscript(job: WriteJob) -> None:
    """TorchScript, by tracing: for programs that still read it (PyTorch has deprecated it)."""
    with torch.no_grad(), quiet():
        traced = torch.jit.trace(job.graph, (example(job.info),), check_trace=False)
        torch.jit.save(traced, str(job.path), _extra_files={KEY: job.info.to_json()})


def write_executorch(job: WriteJob) -> None:
    """ExecuTorch, for phones and boards: lowered to XNNPACK's CPU kernels, and its description in a .json beside it."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import (  # pyright: ignore[reportMissingImports]
        XnnpackPartitioner,
    )
    from executorch.exir import to_edge_transform_and_lower  # pyright: ignore[reportMissingImports]

    program = export_program(job.graph, job.info)
    with quiet():
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    write_bytes(job.path, lowered.buffer)
    write_text(job.path.with_suffix(".json"), job.info.to_json())


def write_onnx(job: WriteJob, *, in_float: Collection[str] = ()) -> None:
    """ONNX, by PyTorch's exporter and quantised by ONNX Runtime's tools: one file with its weights inside.

    Args:
        in_float: operators that stay in float with int8.
    """
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

    from effdet.export.onnx_graph import fold_pads, translations  # defines an operator of torch

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
    fold_pads(model)
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


def write_openvino(job: WriteJob) -> None:
    """OpenVINO's own form (.xml and .bin), from the ONNX graph: so both have one NMS and one quantiser. Both files are needed.

    fp16 is how the weights are stored: on a CPU OpenVINO computes with them in float32. bf16 is how the runtime is told to
    compute: the weights are stored in float32.
    """
    import openvino

    source = job.path.with_suffix(".onnx")
    write_onnx(replace(job, path=source), in_float=IN_FLOAT)
    model = openvino.convert_model(source)
    model.set_rt_info(job.info.to_json(), [KEY, "info"])
    openvino.save_model(model, job.path, compress_to_fp16=job.info.precision == "fp16")
    source.unlink()


WRITERS: Mapping[str, Callable[[WriteJob], None]] = {
    "onnx": write_onnx,
    "openvino": write_openvino,
    "torch_export": write_torch_export,
    "torchscript": write_torchscript,
    "executorch": write_executorch,
}
"""By name of the format."""
