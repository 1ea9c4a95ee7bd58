"""``python -m benchmarks.ours THREADS``: this project's process."""

from __future__ import annotations

import sys

import torch

from benchmarks.ours import data, detections, network, segmentation
from benchmarks.peers.loop import serve
from effdet.cli.run import keep_freed_memory

if __name__ == "__main__":
    keep_freed_memory()  # as the commands do
    torch.set_num_threads(int(sys.argv[1]))
    functions = (
        network.forward,
        network.predict,
        network.exported,
        network.train_step,
        segmentation.segment,
        segmentation.segment_step,
        detections.postprocess,
        detections.evaluation,
        data.loader,
        data.decode,
    )
    serve({function.__name__: function for function in functions})
