"""Lightning's checkpoint IO plug-in, writing our checkpoint files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from effdet.training.checkpoints import LAST, read_checkpoint, write_checkpoint


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes atomically, reads without running code.

    Args:
        keep_previous: when ``last.ckpt`` is replaced, the old one stays as ``last.ckpt.previous``.
    """

    def __init__(self, *, keep_previous: bool = True) -> None:
        super().__init__()
        self.keep_previous = keep_previous

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        if storage_options is not None:
            raise TypeError(f"storage_options={storage_options!r} has no meaning for a local file")
        write_checkpoint(path, checkpoint, previous=self.keep_previous and Path(path).name == LAST)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return read_checkpoint(path)
