"""Exported files in their own runtimes. A new format is a new class and a line in `RUNTIMES`."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torchvision  # noqa: F401  # registers torchvision::nms, which a graph with NMS calls

from effdet.inference.exported import INPUT, KEY, ExportInfo
from heads.structures import UserError


class Runtime(Protocol):
    """A loaded file."""

    format: str
    """Its name."""
    info: ExportInfo

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs by name, of images (B, 3, H, W) uint8, or float32 where the file normalises not itself.

        The images may lie in memory in any order: a runtime copies what it wants in another one, by numpy. (After a parallel
        copy of PyTorch's, its threads spin for milliseconds on the cores that the runtime needs.) The arrays of the result are
        the caller's: no later call writes into them.
        """
        ...


class OnnxRuntime:
    """ONNX files in ONNX Runtime, on the CPU."""

    format = "onnx"

    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors; its warnings are notes about its own optimiser
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no public common class
            raise UserError(f"{path}: ONNX Runtime cannot read it: {' '.join(str(error).split())}") from None
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.info = ExportInfo.from_json(metadata.get(KEY), source=path)

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        values = self._session.run(list(self.info.outputs), {INPUT: np.ascontiguousarray(images)})
        return {name: np.asarray(value) for name, value in zip(self.info.outputs, values, strict=True)}


class OpenVinoRuntime:
    """OpenVINO files (.xml beside .bin) on the CPU.

    OpenVINO computes in bf16 by itself where the CPU has it; here it computes as the file says, so that a float32 file gives
    float32 results everywhere. What an int8 file leaves in float is computed in bf16, finer than its int8 and as fast.

    Images are taken with their channels last, as they come and as its convolutions read them.
    """

    format = "openvino"

    def __init__(self, path: Path, threads: int) -> None:
        import openvino

        self._tensor = openvino.Tensor
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
        # The graph writes into arrays that the next call does not change: copies of all logits would take a sixth of the time.
        found = {
            name: np.empty(tuple(output.shape), output.element_type.to_dtype()) for name, output in outputs.items()
        }
        for name, output in outputs.items():
            self._request.set_tensor(output, self._tensor(found[name], shared_memory=True))
        self._request.infer({INPUT: images}, share_inputs=True, share_outputs=True)
        return found


class _TorchRuntime:
    """Run by PyTorch itself, with its threads, whatever `threads` says: they belong to the process."""

    info: ExportInfo
    _module: Any

    @torch.no_grad()
    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        values = self._module(torch.from_numpy(np.ascontiguousarray(images)))
        return {name: value.numpy() for name, value in zip(self.info.outputs, values, strict=True)}


class TorchExportRuntime(_TorchRuntime):
    """Programs of ``torch.export`` (.pt2)."""

    format = "torch_export"

    def __init__(self, path: Path, threads: int) -> None:
        extra = {KEY: ""}
        try:
            program = torch.export.load(path, extra_files=extra)
        except Exception as error:  # zip, pickle and schema errors, of many classes
            raise UserError(f"{path}: torch.export cannot read it: {' '.join(str(error).split())[:200]}") from None
        self.info = ExportInfo.from_json(extra[KEY], source=path)
        self._module = _unguarded(program)


def _unguarded(program: torch.export.ExportedProgram) -> torch.nn.Module:
    """The program without the exporter's guess that a level never has a single cell: at one cell it computes the same."""
    try:
        return program.module(check_guards=False)
    except TypeError:  # an older torch, which has no such guards
        return program.module()


class TorchScriptRuntime(_TorchRuntime):
    """TorchScript files, for programs that still read them: PyTorch itself has moved on to ``torch.export``."""

    format = "torchscript"

    def __init__(self, path: Path, threads: int) -> None:
        extra = {KEY: ""}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own deprecation
            try:
                self._module = torch.jit.load(path, map_location="cpu", _extra_files=extra)
            except RuntimeError as error:
                raise UserError(f"{path}: TorchScript cannot read it: {' '.join(str(error).split())[:200]}") from None
        text = extra[KEY]
        self.info = ExportInfo.from_json(text.decode() if isinstance(text, bytes) else text, source=path)


class ExecuTorchRuntime:
    """ExecuTorch programs (.pte, with their description in a .json beside them). Python cannot size its thread pool."""

    format = "executorch"

    def __init__(self, path: Path, threads: int) -> None:
        from executorch.runtime import Runtime  # pyright: ignore[reportMissingImports]

        beside = path.with_suffix(".json")
        if not beside.is_file():
            raise UserError(f"{path}: {beside.name} is not beside it, which says what model it holds; copy both")
        self.info = ExportInfo.from_json(beside.read_text(encoding="utf-8"), source=beside)
        self._program: Any = Runtime.get().load_program(path)  # kept: the method lives in its memory
        self._forward = self._program.load_method("forward")

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        values = self._forward.execute((torch.from_numpy(np.ascontiguousarray(images)),))
        return {name: value.numpy().copy() for name, value in zip(self.info.outputs, values, strict=True)}


@dataclass(frozen=True)
class RuntimeKind:
    """How files of one suffix are opened."""

    load: Callable[[Path, int], Runtime]
    """(path, threads) -> the loaded file."""
    packages: tuple[str, ...] = ()
    """What it imports."""
    extra: str | None = None
    """Our extra that brings them; None where nothing is needed beyond PyTorch."""


RUNTIMES: Mapping[str, RuntimeKind] = {
    ".onnx": RuntimeKind(OnnxRuntime, ("onnxruntime",), "onnx"),
    ".xml": RuntimeKind(OpenVinoRuntime, ("openvino",), "openvino"),
    ".pt2": RuntimeKind(TorchExportRuntime),
    ".torchscript": RuntimeKind(TorchScriptRuntime),
    ".pte": RuntimeKind(ExecuTorchRuntime, ("executorch",), "executorch"),
}


def is_exported(path: str | os.PathLike[str]) -> bool:
    """Whether `path` has the suffix of an exported file."""
    return Path(path).suffix.lower() in RUNTIMES


def open_runtime(path: str | os.PathLike[str], *, threads: int | None = None) -> Runtime:
    """The file at `path`, ready to run on the CPU.

    Args:
        threads: of the runtime; None takes as many as torch has (``torch.get_num_threads()``).

    Raises:
        UserError: no such file, an unknown suffix, a missing package, a file that is not ours.
    """
    file = Path(path).expanduser()
    kind = RUNTIMES.get(file.suffix.lower())
    if kind is None:
        raise UserError(f"{file}: not an exported file; their suffixes are {', '.join(RUNTIMES)}")
    if not file.is_file():
        raise UserError(f"{file}: no such file")
    require(kind.packages, kind.extra, f"{file.name}")
    if threads is None:
        threads = torch.get_num_threads()
    elif threads < 1:
        raise UserError(f"threads={threads} must be 1 or more")
    return kind.load(file, threads)


def require(packages: tuple[str, ...], extra: str | None, what: str) -> None:
    """Refuse in one line where one of `packages` is not installed."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise UserError(f"{what} needs {', '.join(missing)}: pip install 'effdet-lightning[{extra}]'")
