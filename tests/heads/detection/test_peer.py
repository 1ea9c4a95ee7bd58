"""The whole package against the distribution ``effdet`` 0.4.1, which runs in a process of its own: it has this project's name.

It is found in the folder ``EFFDET_PEER_PATH`` (an unpacked wheel, for this Python), else fetched by uv.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from heads.detection import (
    AnchorSpec,
    DetectionHead,
    DetectionLoss,
    DetectionOptions,
    DetectionOutput,
    PostProcess,
    anchors,
)
from heads.detection.boxes import encode
from heads.detection.matcher import match_iou
from heads.structures import Targets

pytestmark = [pytest.mark.slow, pytest.mark.peer]

SHAPES = {
    "square": ((512, 512), AnchorSpec()),
    "odd": ((300, 420), AnchorSpec(scale=3.0)),
    "roots": ((256, 384), AnchorSpec(aspects=(1.0, 2.0, 0.5))),
}


@pytest.fixture(scope="module")
def peer(tmp_path_factory) -> dict[str, Tensor]:
    directory = tmp_path_factory.mktemp("peer")
    overrides = [str(Path(__file__).with_name("peer_effdet.py")), str(directory / "peer.npz")]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if "EFFDET_PEER_PATH" in os.environ:
        command, environment["PYTHONPATH"] = [sys.executable, *overrides], os.environ["EFFDET_PEER_PATH"]
    elif shutil.which("uv"):
        command = ["uv", "run", "--no-project", "--with", "effdet==0.4.1", "python", *overrides]
    else:
        pytest.skip("the peer needs EFFDET_PEER_PATH=FOLDER or uv")
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    if "ModuleNotFoundError" in done.stderr or (command[0] == "uv" and done.returncode == 2):  # 2: uv's own failure
        pytest.skip(f"the peer cannot be had here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(directory / "peer.npz") as values:
        return {name: torch.from_numpy(values[name]) for name in values.files}


def levels(size: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Sizes of P3 to P7 of an image."""
    height, width = size
    return tuple((-(-height // stride), -(-width // stride)) for stride in (8, 16, 32, 64, 128))


@pytest.fixture
def output(peer) -> DetectionOutput:
    size = (256, 384)
    logits, deltas = peer["logits"].clone().requires_grad_(), peer["deltas"].clone().requires_grad_()
    return DetectionOutput(logits, deltas, anchors(levels(size), size, AnchorSpec()), size, levels(size))


@pytest.mark.parametrize("shape", SHAPES)
def test_anchors(peer, shape):
    size, spec = SHAPES[shape]
    assert torch.equal(anchors(levels(size), size, spec), peer[f"anchors_{shape}"][:, [1, 0, 3, 2]])


def test_matches_and_targets(peer, output):
    matches = match_iou(output.anchors, peer["boxes"], peer["labels"])
    positive, row = matches >= 0, matches.clamp(min=0)
    assert positive.sum() == peer["positives"]
    assert torch.equal(torch.where(positive, peer["labels"].gather(1, row), -1), peer["class_targets"].long())
    deltas = encode(output.anchors, peer["boxes"].gather(1, row[..., None].expand(-1, -1, 4)))
    torch.testing.assert_close(torch.where(positive[..., None], deltas, 0), peer["box_targets"])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_losses_and_gradients(peer, output, smoothing):
    head = DetectionHead(8, 7, DetectionOptions(loss=DetectionLoss(label_smoothing=smoothing, normalizer="paper")))
    terms = head.loss(output, Targets(boxes=peer["boxes"], labels=peer["labels"]))
    torch.testing.assert_close(terms["class"].detach(), peer[f"class_loss_{smoothing}"], rtol=1e-5, atol=0)
    torch.testing.assert_close(terms["box"].detach() / 50, peer[f"box_loss_{smoothing}"], rtol=1e-5, atol=0)
    (terms["class"] + terms["box"]).backward()
    torch.testing.assert_close(output.class_logits.grad, peer[f"class_slope_{smoothing}"], rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(output.box_deltas.grad, peer[f"box_slope_{smoothing}"], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("soft", [False, True])
def test_detections(peer, output, soft):
    head = DetectionHead(8, 7, DetectionOptions(postprocess=PostProcess(soft_nms=soft)))
    found, theirs = head.predict(output), peer[f"detections_{soft}"]
    assert found.counts.tolist() == [100] * 4
    assert torch.equal(found.labels + 1, theirs[..., 5].long())
    torch.testing.assert_close(found.scores, theirs[..., 4], rtol=0, atol=1e-4 if soft else 1e-7)
    torch.testing.assert_close(found.boxes, theirs[..., :4], rtol=0, atol=1e-3)
