"""What an exported file says about itself: enough to feed it, and to make predictions of what it answers.

Every format has a place for text (ONNX ``metadata_props``, OpenVINO ``rt_info``, ``extra_files`` of PyTorch's formats, a file
beside ExecuTorch's); there this lies as JSON under the name `KEY`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from effdet.model.spec import ModelSpec
from effdet.renamed import renew
from heads.structures import UserError

KEY = "effdet"
VERSION = 1
"""Of the JSON below; raised when an old reader could misread a new file."""
INPUT = "images"
"""Name of the one input: (B, 3, H, W) RGB."""


@dataclass(frozen=True)
class ExportInfo:
    """The description that travels inside an exported file."""

    spec: ModelSpec
    """The model: its classes, its preprocessing, its heads."""
    outputs: tuple[str, ...]
    """In the graph's order: :data:`effdet.tasks.detection.DETECTIONS` or ``ANCHORS``, and for other heads their raw output:
    the head's name, or ``name.part`` where it has several parts."""
    precision: str
    """``fp32``, ``fp16``, ``bf16`` or ``int8``."""
    nms: bool
    """Whether a detection head's thresholds and suppression are in the graph."""
    normalise: bool
    """True: the graph takes uint8 pixels. False: float32, normalised by ``spec.preprocess``."""
    batch: int | None
    """Images in one pass; None for any number."""
    dynamic_size: bool
    """Whether any height and width do; else only those of ``spec.preprocess.size``."""
    postprocess: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the suppression: those in the graph, or those that a reader applies."""
    widths: Mapping[str, int] | None = None
    """Channels of each level that heads may read, where the backbone is not ours: so that a reader doesn't need it."""

    def to_json(self) -> str:
        values = {name: value for name, value in asdict(self).items() if name != "spec"}
        if self.widths is None:
            del values["widths"]  # version 0.1.0 reads files of our backbones
        return json.dumps({"version": VERSION, "spec": self.spec.to_dict(), **values}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | None, *, source: Any) -> Self:
        """Raises UserError where `text` is not such a description; `source` is the file's name."""
        if not text:
            raise UserError(f"{source}: this file does not say what model it holds; export it with `effdet export`")
        values = renew(json.loads(text))
        if (version := values.pop("version", None)) != VERSION:
            raise UserError(
                f"{source}: its description has version {version!r}, this one reads {VERSION}; update effdet"
            )
        spec = ModelSpec.from_dict(values.pop("spec"))
        return cls(spec=spec, outputs=tuple(values.pop("outputs")), **values)
