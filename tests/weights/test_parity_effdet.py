"""Parity with the PyTorch ``effdet`` distribution 0.4.1: same weights, same image, same numbers.

The peer has this project's name, so it runs in a process of its own: from the folder in ``EFFDET_PEER_PATH`` (an unpacked
wheel, its dependencies beside ours), else through ``uv``. ``EFFDET_PARITY_TABLE=FILE`` appends a line for each comparison.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from effdet.model import build, spec_for
from effdet.scaling import DETECTORS
from effdet.weights import load_weights
from heads.detection import PostProcess, postprocess

LIMIT = 1e-4
SIZES = ((256, 256), (256, 384))
PEER = Path(__file__).with_name("peer_effdet.py")


@dataclass(frozen=True)
class Parity:
    """Relative differences, ``max|a - b| / max|b|``."""

    class_logits: float
    box_deltas: float
    anchors: float
    detections: float


def run_peer(name: str, sizes: tuple[tuple[int, int], ...], directory: Path) -> list[dict[str, Any]]:
    out = directory / "peer.pt"
    overrides = [str(PEER), name, str(out), *(str(side) for size in sizes for side in size)]
    environment = dict(os.environ)
    if "EFFDET_PEER_PATH" in os.environ:
        command, environment["PYTHONPATH"] = [sys.executable, *overrides], os.environ["EFFDET_PEER_PATH"]
    elif shutil.which("uv"):
        environment.pop("PYTHONPATH", None)  # this project has a package of the peer's name
        command = ["uv", "run", "--no-project", "--with", "effdet==0.4.1", "python", *overrides]
    else:
        pytest.skip("the peer needs EFFDET_PEER_PATH=FOLDER or uv")
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    return torch.load(out, weights_only=True)


def compare(name: str, size: tuple[int, int], peer: dict[str, Any]) -> Parity:
    model = build(spec_for(name, num_classes=90, image_size=size)).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == peer["parameters"]
    report = load_weights(model, peer["state"], conventions="model")
    assert report.complete and not report.expected_left_over
    with torch.inference_mode():
        output = model(peer["images"])["detection"]
    deltas = peer["box_deltas"].clamp(-2, 2)
    ours = postprocess(peer["synthetic"], deltas, peer["anchors"][:, [1, 0, 3, 2]], PostProcess())
    theirs = peer["detections"]
    assert torch.equal(ours.labels.float() + 1, theirs[:, :, 5])  # the peer counts classes from 1
    detections = max(relative(ours.boxes, theirs[:, :, :4]), relative(ours.scores, theirs[:, :, 4]))
    return Parity(
        relative(output.class_logits, peer["class_logits"]),
        relative(output.box_deltas, peer["box_deltas"]),
        relative(output.anchors, peer["anchors"][:, [1, 0, 3, 2]]),  # the peer's are yxyx
        detections,
    )


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    assert ours.shape == theirs.shape and bool(theirs.isfinite().all())
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.slow
@pytest.mark.peer
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", DETECTORS)
def test_same_weights_give_the_same_numbers(name: str, tmp_path: Path) -> None:
    for size, peer in zip(SIZES, run_peer(name, SIZES, tmp_path), strict=True):
        found = compare(name, size, peer)
        values = (found.class_logits, found.box_deltas, found.anchors, found.detections)
        if table := os.environ.get("EFFDET_PARITY_TABLE"):
            with open(table, "a", encoding="utf-8") as file:
                file.write(f"| {name} | {size[0]} × {size[1]} | {' | '.join(f'{value:.1e}' for value in values)} |\n")
        assert all(value <= LIMIT for value in values), found
