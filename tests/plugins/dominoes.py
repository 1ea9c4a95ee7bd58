"""A data set in a made-up format: one NumPy archive a split, with all images in one array and boxes as centre and half size."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from effdet.data import Example, Examples

CLASSES = ("dark", "light")


def open_split(split: str, folder: str, least: int = 0) -> Examples:
    """``FOLDER/SPLIT.npz``: ``images`` (P, h, w, 3), ``objects`` (N, 6): image, class, centre x y, half width and height.

    Objects with a half side below `least` are left out.
    """
    with np.load(Path(folder) / f"{split}.npz") as file:
        images, objects = file["images"], file["objects"]
    examples = []
    for number, image in enumerate(images):
        own = objects[(objects[:, 0] == number) & (objects[:, 4:].min(axis=1) >= least)]
        boxes = np.concatenate([own[:, 2:4] - own[:, 4:], own[:, 2:4] + own[:, 4:]], axis=1)
        examples.append(Example(image, boxes, own[:, 1].astype(int).tolist()))
    return Examples(examples, CLASSES)


def write(folder: Path, *, images: int = 4, side: int = 64) -> Path:
    """A set with one domino an image."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        pixels = rng.integers(90, 160, (images, side, side, 3), np.uint8)
        objects = np.zeros((images, 6), np.float32)
        for number in range(images):
            x, y = rng.integers(20, side - 20, 2)
            objects[number] = (number, number % 2, x, y, 8, 16)
            pixels[number, y - 16 : y + 16, x - 8 : x + 8] = 250 * (number % 2)
        np.savez(folder / f"{split}.npz", images=pixels, objects=objects)
    return folder
