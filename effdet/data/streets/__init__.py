"""`streets`: street scenes drawn by code from a seed, in COCO and in Cityscapes form.

``ensure()`` gives the folder of a set, ``scene(seed, split, index, size)`` one picture with its truth.
"""

from __future__ import annotations

from .cache import COUNTS, VERSION, cache_root, ensure, is_whole
from .labels import STUFF, THINGS
from .render import Scene, scene

__all__ = ["COUNTS", "STUFF", "THINGS", "VERSION", "Scene", "cache_root", "ensure", "is_whole", "scene"]
