"""OpenVINO files (.xml beside .bin) on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino

from effdet.inference.exported import INPUT, KEY, ExportInfo
from heads.structures import UserError


class OpenVinoRuntime:
    """One compiled model.

    OpenVINO computes in bf16 by itself where the CPU has it; here it computes as the file says, so that a float32 file gives
    float32 results everywhere. What an int8 file leaves in float is computed in bf16, finer than its int8 and as fast.

    Images are taken with their channels last, as they come and as its convolutions read them.
    """

    def __init__(self, path: Path, threads: int) -> None:
        core = openvino.Core()
        try:
            model = core.read_model(path)
        except RuntimeError as error:
            raise UserError(f"{path}: OpenVINO cannot read it: {str(error).strip().splitlines()[-1]}") from None
        text = model.get_rt_info([KEY, "info"]).astype(str) if model.has_rt_info([KEY, "info"]) else None
        self.info = ExportInfo.from_json(text, source=path)
        pixels = openvino.preprocess.PrePostProcessor(model)
        pixels.input(INPUT).tensor().set_layout(openvino.Layout("NHWC"))
        pixels.input(INPUT).model().set_layout(openvino.Layout("NCHW"))
        model = pixels.build()
        hint = "bf16" if self.info.precision in ("bf16", "int8") else "f32"
        settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        self._compiled = core.compile_model(model, "CPU", settings)
        self._request = self._compiled.create_infer_request()

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        outputs = {name: self._compiled.output(name) for name in self.info.outputs}
        if any(output.partial_shape.is_dynamic for output in outputs.values()):
            values = self._request.infer({INPUT: images}, share_inputs=True)  # copies its outputs
            return {name: values[name] for name in outputs}
        # The graph writes into arrays that the next call leaves alone: copies of all logits would take a sixth of the time.
        found = {
            name: np.empty(tuple(output.shape), output.element_type.to_dtype()) for name, output in outputs.items()
        }
        for name, output in outputs.items():
            self._request.set_tensor(output, openvino.Tensor(found[name], shared_memory=True))
        self._request.infer({INPUT: images}, share_inputs=True, share_outputs=True)
        return found


def load(path: Path, threads: int) -> OpenVinoRuntime:
    return OpenVinoRuntime(path, threads)
