"""Which formats there are, what each can hold, and what a user wants of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from effdet.inference.runtimes import require
from heads.fields import check_fields
from heads.structures import UserError

PRECISIONS = ("fp32", "fp16", "bf16", "int8")


@dataclass(frozen=True)
class Format:
    """What one format can hold. Its writer is in ``effdet.export.formats``."""

    suffix: str
    precisions: tuple[str, ...]
    nms: bool = True
    """Whether its operators can say a suppression."""
    any_batch: bool = True
    any_size: bool = True
    packages: tuple[str, ...] = ()
    """What writing and checking a file imports beyond PyTorch."""
    extra: str | None = None
    """Our extra that brings them."""


_ONNX = ("onnx", "onnxscript", "onnxruntime")
FORMATS: Mapping[str, Format] = {
    "onnx": Format(".onnx", ("fp32", "fp16", "int8"), packages=_ONNX, extra="onnx"),
    "openvino": Format(".xml", PRECISIONS, packages=(*_ONNX, "openvino"), extra="openvino"),
    "torch_export": Format(".pt2", ("fp32", "fp16", "bf16")),
    "torchscript": Format(".torchscript", ("fp32", "fp16", "bf16"), any_size=False),
    "executorch": Format(
        ".pte", ("fp32",), nms=False, any_batch=False, any_size=False, packages=("executorch",), extra="executorch"
    ),
}


@dataclass(frozen=True)
class ExportSettings:
    """What the file shall be. Contradictions with its format are errors here, before any work."""

    format: Literal["onnx", "openvino", "torch_export", "torchscript", "executorch"] = "onnx"
    """What to write (pip install 'effdet-lightning[FORMAT]' for onnx, openvino and executorch)."""
    precision: Literal["fp32", "fp16", "bf16", "int8"] = "fp32"
    """Numbers in the file; int8 is quantised after training, on images of data or source."""
    nms: bool = False
    """true puts threshold, top-k and NMS into the graph; false leaves them to the application."""
    normalise: bool = True
    """true: the graph takes uint8 pixels; false: it takes float32, normalised by the application."""
    batch_size: Annotated[int, "1.."] | None = 1
    """Images in one pass; null takes any number, at a small cost in speed."""
    dynamic_size: bool = False
    """true takes images of any height and width, at some cost in speed (onnx, openvino, torch_export)."""

    def __post_init__(self) -> None:
        check_fields(self, "")
        kind = self.kind
        if self.precision not in kind.precisions:
            able = [name for name, other in FORMATS.items() if self.precision in other.precisions]
            hint = f"; {self.precision} is for format={' or '.join(able)}" if able else ""
            raise UserError(f"format={self.format} precision={self.precision}: use {', '.join(kind.precisions)}{hint}")
        if self.nms and not kind.nms:
            raise UserError(f"format={self.format} nms=true: it has no operators for that; use nms=false")
        if self.batch_size is None and not kind.any_batch:
            raise UserError(f"format={self.format} batch_size=null: it holds only one batch size; use batch_size=1")
        if self.dynamic_size and not kind.any_size:
            able = [name for name, other in FORMATS.items() if other.any_size]
            raise UserError(f"format={self.format} dynamic_size=true: it holds only one size; use {', '.join(able)}")
        if self.dynamic_size and self.precision == "int8":
            raise UserError("precision=int8 dynamic_size=true: ranges are measured at one size; use dynamic_size=false")

    @property
    def kind(self) -> Format:
        return FORMATS[self.format]

    def check_installed(self) -> None:
        """Refuse in one line where the format's packages are missing."""
        require(self.kind.packages, self.kind.extra, f"format={self.format}")
