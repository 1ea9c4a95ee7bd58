"""Predicted class maps as files, in the ids that the data's owners use."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from heads.structures import ClassTable, UserError


class ClassMapWriter:
    """Writes one 8-bit grey PNG a picture, named as the picture and in the picture's own size.

    For Cityscapes that is the form of a submission: ids, not trainIds, in files that begin with city, sequence and frame.

    Args:
        folder: where to; made when the first map is written.
        classes: the data's, whose own ids are written.
        void: what stands where none of the classes was found.
    """

    def __init__(self, folder: Path, classes: ClassTable, *, void: int) -> None:
        ids = [void if own is None else own for own in (*classes.ids, void)]
        if min(ids) < 0 or max(ids) > 255:
            raise UserError(f"class maps have 8 bits a pixel, and the data's ids go from {min(ids)} to {max(ids)}")
        self.folder = folder
        self._ids = np.array(ids, np.uint8)

    def __call__(self, record: Any, labels: np.ndarray) -> None:
        """
        Args:
            record: the picture's; its `file_name` names the file.
            labels: (H, W) integers in 0…K, K for none of the classes.
        """
        path = self.folder / PurePosixPath(record.file_name).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.part")
        Image.fromarray(self._ids[labels]).save(partial, format="PNG")
        os.replace(partial, path)
