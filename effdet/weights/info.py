"""What there is to say about a model: size, cost, published result, weights; and about this machine, for bug reports.

Parameters and multiply-adds of the published models are literal in :mod:`effdet.weights.tables.costs`, so that listing all
of them takes no time; :func:`effdet.model.count_cost` counts any model, and a test holds the table to it.
"""

from __future__ import annotations

import importlib.metadata
import platform
from dataclasses import dataclass

import torch

from backbones.spec import ExternalSpec
from effdet.model import Cost, ModelSpec, count_cost, spec_for
from effdet.scaling import DETECTORS
from effdet.weights import names
from effdet.weights.names import suitable
from effdet.weights.rows import NamedWeights, Published
from effdet.workers import cores

DISTRIBUTIONS = (
    "effdet-lightning",
    "torch",
    "torchvision",
    "lightning",
    "hydra-core",
    "numpy",
    "pillow",
    "albumentations",
    "pycocotools",
    "safetensors",
    "huggingface-hub",
    "timm",
    "onnxruntime",
    "openvino",
)


@dataclass(frozen=True)
class ModelInfo:
    """A line of ``effdet info``."""

    name: str
    task: str
    size: tuple[int, int]
    """(height, width) of the input, pixels."""
    cost: Cost
    result: Published | None
    """The best that the owners of its weights state."""
    weights: tuple[NamedWeights, ...]


def full_names() -> tuple[str, ...]:
    """Every published detector and classifier by its one full name (``b0`` is ``tf_efficientnet_b0``)."""
    from backbones.scaling import architecture
    from backbones.scaling import names as backbone_names

    return (*DETECTORS, *(name for name in backbone_names() if architecture(name) != name))


def all_models() -> tuple[ModelInfo, ...]:
    """A line for every published model; nothing is built."""
    from effdet.weights.tables.costs import COSTS

    return tuple(_line(spec_for(name), Cost(*COSTS[name])) for name in full_names())


def model_info(spec: ModelSpec) -> ModelInfo:
    """The line of any model, whose cost is counted."""
    return _line(spec, count_cost(spec))


def _line(spec: ModelSpec, cost: Cost) -> ModelInfo:
    external = isinstance(spec.backbone, ExternalSpec)
    weights = suitable(spec) if external else names.for_model(spec.name)
    result = next((row.result for row in weights if row.result is not None), None)
    return ModelInfo(spec.name, "+".join(spec.heads), spec.preprocess.size, cost, result, weights)


def environment() -> dict[str, str]:
    """Versions and hardware, for ``effdet info --env``."""
    found = {"python": platform.python_version(), "system": platform.platform()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    found["cpu"] = f"{platform.machine()}, {cores()} cores, {torch.get_num_threads()} threads"
    found["cuda"] = str(torch.version.cuda or "none")
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found[f"gpu {index}"] = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    from effdet.hub import cache_dir, is_offline, mirrors

    found["cache"] = str(cache_dir())
    found["network"] = "offline" if is_offline() else f"{len(mirrors())} mirrors"
    return found
