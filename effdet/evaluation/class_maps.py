"""Predicted segmentation maps as files, in the ids that the data's owners use."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from effdet.files import replacing
from heads.structures import ClassTable, UserError


class ClassMapWriter:
    """Writes one 8-bit grey PNG an image, named as the image and in the image's own size.

    For Cityscapes that is the form of a submission: ids, not trainIds, in files that begin with city, sequence and frame.

    Args:
        folder: where to; made when the first map is written.
        classes: the data's, whose own ids are written.
        void: what stands where none of the classes was found.
    """

    def __init__(self, directory: Path, classes: ClassTable, *, void: int) -> None:
        ids = [void if own is None else own for own in (*classes.ids, void)]
        if min(ids) < 0 or max(ids) > 255:
            raise UserError(
                f"segmentation maps have 8 bits a pixel, and the data's ids go from {min(ids)} to {max(ids)}"
            )
        self.directory = directory
        self._ids = np.array(ids, np.uint8)
        self._names: dict[str, str] = {}

    def __call__(self, record: Any, labels: np.ndarray) -> None:
        """
        Args:
            record: the image's; its `file_name` names the file.
            labels: (H, W) integers in 0…K, K for none of the classes.
        """
        with replacing(self.directory / self._name(record.file_name)) as partial:
            Image.fromarray(self._ids[labels]).save(partial, format="PNG")

    def _name(self, file_name: str) -> str:
        """Below the folder, whatever the set calls the image, and another one for each: ``a.jpg`` and ``a.png`` are two."""
        parts = [part for part in PurePosixPath(file_name).parts if part not in ("..", "/") and not part.endswith(":")]
        path = PurePosixPath(*parts)
        name, number = path.with_suffix(".png"), 1
        while self._names.setdefault(str(name).casefold(), file_name) != file_name:
            number += 1
            name = path.with_name(f"{path.stem}_{number}.png")
        return str(name)
