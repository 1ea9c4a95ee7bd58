"""``python -m benchmarks.ours.exporting``: writes an exported file, in a process whose memory nobody measures."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.ours.network import network, random_image
from effdet.export import ExportSettings, Tolerance, export_model
from effdet.export.images import canvases

NOT_EVALUATED = Tolerance(logit=float("inf"), box=float("inf"), output=float("inf"), agreement=0.0)
"""Random weights: bf16 and int8 agree on no detection of theirs; the AP of real weights is in docs/export.md."""


def main(path: str, name: str, size: str, weights: str, form: str, precision: str) -> None:
    model = network(name, int(size), weights).eval()
    images = canvases([random_image()], model.preprocess)
    calibration = images if precision == "int8" else None
    tolerance = None if precision == "fp32" else NOT_EVALUATED
    settings = ExportSettings(format=form, precision=precision)
    export_model(model, Path(path), settings, images=images, calibration=calibration, tolerance=tolerance)


if __name__ == "__main__":
    main(*sys.argv[1:])
