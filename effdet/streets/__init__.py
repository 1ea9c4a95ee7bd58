"""`streets`: street scenes drawn by code from a seed, in COCO and in Cityscapes form.

``ensure()`` gives the folder of a set, ``scene(seed, split, index, size)`` one picture with its truth,
``video(seed, frames, size)`` the frames of a video with lasting instance ids.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from effdet.streets.cache import COUNTS, VERSION, ensure, is_whole
    from effdet.streets.film import video
    from effdet.streets.labels import STUFF, THINGS
    from effdet.streets.render import Scene, scene

_HOME = {
    "COUNTS": "cache",
    "VERSION": "cache",
    "ensure": "cache",
    "is_whole": "cache",
    "STUFF": "labels",
    "THINGS": "labels",
    "Scene": "render",
    "scene": "render",
    "video": "film",
}

__all__ = ["COUNTS", "STUFF", "THINGS", "VERSION", "Scene", "ensure", "is_whole", "scene", "video"]


def __getattr__(name: str) -> Any:
    """Names come from their modules when first asked for: the processes that draw need few of them."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
