"""``torch.export``: PyTorch's own graph, for Python, AOTInductor and what reads from it."""

from __future__ import annotations

import torch

from effdet.export.formats import WriteJob
from effdet.export.program import export_program, quiet
from effdet.inference.exported import KEY


def write(job: WriteJob) -> None:
    program = export_program(job.graph, job.info)
    with quiet():
        torch.export.save(program, job.path, extra_files={KEY: job.info.to_json()})
