"""Images of the training set on which statistics of folded BatchNorms are measured (:mod:`effdet.weights.statistics`)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import numpy as np

from effdet.data import Source
from effdet.data.checks import DataError

MOST, LEAST = 128, 32
"""Number of images, by the size of the canvas: 128 of 320 x 320 pixels agree with evaluation as well as 200 do."""
PIXELS = 128 * 320 * 320


def training_images(train: Source, size: tuple[int, int], *, seed: int) -> Callable[[], Iterator[np.ndarray]]:
    """A fixed sample of the set, drawn by `seed`, as stored: no augmentation.

    Args:
        size: (height, width) of the model's canvas.

    Returns:
        A function that reads the images, (h, w, 3) uint8 RGB, one after the other. Those that can't be read are left out:
        the checks before the first step name them.
    """
    count = min(len(train), max(LEAST, min(MOST, PIXELS // (size[0] * size[1]))))
    chosen = np.sort(np.random.default_rng(seed).choice(len(train), count, replace=False))

    def images() -> Iterator[np.ndarray]:
        for index in chosen:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    image = train.read_image(train.records[int(index)], policy="warn")
            except DataError:
                continue
            yield image

    return images
