"""`streets`: street scenes drawn by code from a seed, in COCO and in Cityscapes form.

``ensure()`` gives the folder of a set, ``scene(seed, split, index, size)`` one image with its truth,
``video(seed, frames, size)`` the frames of a video with lasting instance ids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from effdet.lazy import lazy_names

if TYPE_CHECKING:
    from effdet.streets.cache import COUNTS, VERSION, ensure, is_whole
    from effdet.streets.film import video
    from effdet.streets.labels import STUFF, THINGS
    from effdet.streets.render import Scene, scene

__all__ = ["COUNTS", "STUFF", "THINGS", "VERSION", "Scene", "ensure", "is_whole", "scene", "video"]

__getattr__ = lazy_names(
    __name__,
    {
        "COUNTS": "cache",
        "VERSION": "cache",
        "ensure": "cache",
        "is_whole": "cache",
        "STUFF": "labels",
        "THINGS": "labels",
        "Scene": "render",
        "scene": "render",
        "video": "film",
    },
)
