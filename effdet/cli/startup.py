"""Warns of other distributions that overwrite ours, before they are met as a riddle.

The PyTorch port of EfficientDet on PyPI is also a distribution called ``effdet`` with a package called ``effdet``; and both
OpenCV distributions write the same ``cv2`` folder, so that removing one breaks the other. Only installed metadata is read.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Collection

OURS = "effdet-lightning"
OPENCV = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")


def installed() -> set[str]:
    """Normalised names of the installed distributions."""
    names = (distribution.metadata["Name"] for distribution in importlib.metadata.distributions())
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names if name}


def collisions(names: Collection[str]) -> list[str]:
    """One line for each collision among the distributions `names`."""
    found = []
    if "effdet" in names:
        found.append(
            f"the distribution 'effdet' is installed beside '{OURS}', and both hold a package 'effdet': "
            f"pip uninstall effdet {OURS}, then install {OURS} again"
        )
    several = [name for name in OPENCV if name in names]
    if len(several) > 1:
        found.append(
            f"{' and '.join(several)} are both installed and overwrite each other's cv2: "
            f"pip uninstall {' '.join(several)}, then pip install opencv-python-headless"
        )
    return found
