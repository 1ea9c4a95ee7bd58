"""OpenVINO's own form (.xml and .bin), from the ONNX graph: so both have one NMS and one quantiser."""

from __future__ import annotations

from dataclasses import replace

from effdet.export.formats import WriteJob
from effdet.export.formats import onnx as onnx_format
from effdet.inference.exported import KEY


def write(job: WriteJob) -> None:
    """Two files; both are needed.

    fp16 is how the weights are stored: on a CPU OpenVINO computes with them in float32. bf16 is how the runtime is told to
    compute: the weights are stored in float32.
    """
    import openvino

    source = job.path.with_suffix(".onnx")
    onnx_format.write(replace(job, path=source))
    model = openvino.convert_model(source)
    model.set_rt_info(job.info.to_json(), [KEY, "info"])
    openvino.save_model(model, job.path, compress_to_fp16=job.info.precision == "fp16")
    source.unlink()
