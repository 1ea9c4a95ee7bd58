"""ExecuTorch, for phones and boards: lowered to XNNPACK's CPU kernels."""

from __future__ import annotations

from effdet.export.formats import WriteJob
from effdet.export.program import export_program, quiet
from effdet.files import write_bytes, write_text


def write(job: WriteJob) -> None:
    """The program, and its description in a .json beside it: the form has no place for text."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import (  # pyright: ignore[reportMissingImports]
        XnnpackPartitioner,
    )
    from executorch.exir import to_edge_transform_and_lower  # pyright: ignore[reportMissingImports]

    program = export_program(job.graph, job.info)
    with quiet():
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    write_bytes(job.path, lowered.buffer)
    write_text(job.path.with_suffix(".json"), job.info.to_json())
