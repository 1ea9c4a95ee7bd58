"""OpenVINO's own form (.xml and .bin), from the ONNX graph: so both have one NMS and one quantiser."""

from __future__ import annotations

from dataclasses import replace

from effdet.export.formats import WriteJob
from effdet.export.formats import onnx as onnx_format
from effdet.inference.exported import KEY

IN_FLOAT = ("Sigmoid", "Mul")
"""SiLU and channel attention in int8 files: OpenVINO joins SiLU, in float, with the convolution before it. In int8 a D0 takes
1.4 times as long (measured), and its logits err by 1.8 times as much. ONNX Runtime is faster with all of it in int8."""


def write(job: WriteJob) -> None:
    """Two files; both are needed.

    fp16 is how the weights are stored: on a CPU OpenVINO computes with them in float32. bf16 is how the runtime is reported to
    compute: the weights are stored in float32.
    """
    import openvino

    source = job.path.with_suffix(".onnx")
    onnx_format.write(replace(job, path=source), in_float=IN_FLOAT)
    model = openvino.convert_model(source)
    model.set_rt_info(job.info.to_json(), [KEY, "info"])
    openvino.save_model(model, job.path, compress_to_fp16=job.info.precision == "fp16")
    source.unlink()
