"""TorchScript, by tracing: for programs that still read it (PyTorch has deprecated it)."""

from __future__ import annotations

import torch

from effdet.export.formats import WriteJob
from effdet.export.graph import example
from effdet.export.program import quiet
from effdet.inference.exported import KEY


def write(job: WriteJob) -> None:
    with torch.no_grad(), quiet():
        traced = torch.jit.trace(job.graph, (example(job.info),), check_trace=False)
        torch.jit.save(traced, str(job.path), _extra_files={KEY: job.info.to_json()})
