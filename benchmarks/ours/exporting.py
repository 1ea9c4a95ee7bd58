"""``python -m benchmarks.ours.exporting``: writes an exported file, in a process whose memory nobody measures."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.ours.network import network, picture
from effdet.export import ExportSettings, Tolerance, export_model
from effdet.export.pictures import canvases

UNJUDGED = Tolerance(logit=float("inf"), box=float("inf"), output=float("inf"), agreement=0.0)
"""Random weights: bf16 and int8 agree on no detection of theirs; the AP of real weights is in docs/export.md."""


def main(path: str, name: str, size: str, weights: str, form: str, precision: str) -> None:
    model = network(name, int(size), weights).eval()
    pictures = canvases([picture()], model.preprocess)
    calibration = pictures if precision == "int8" else None
    tolerance = None if precision == "fp32" else UNJUDGED
    settings = ExportSettings(format=form, precision=precision)
    export_model(model, Path(path), settings, pictures=pictures, calibration=calibration, tolerance=tolerance)


if __name__ == "__main__":
    main(*sys.argv[1:])
