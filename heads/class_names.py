"""When two class names are one: the rule that evaluation joins by and that class rows are carried over by.

Two tables of the same classes rarely agree in ids or spelling, so names decide. An equal spelling goes before one that
differs in case, spaces, ``_`` and ``-`` only, and that before one of the pairs in :data:`ALIASES`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

ALIASES: Mapping[str, str] = {
    # Pascal VOC's and other sets' words on the left, COCO's on the right, as `plain` leaves them.
    "motorbike": "motorcycle",
    "aeroplane": "airplane",
    "sofa": "couch",
    "tvmonitor": "tv",
    "hairdryer": "hairdrier",
    "doughnut": "donut",
}


def plain(name: str) -> str:
    """A name without case, spaces, ``_`` and ``-``: ``Potted_Plant`` and ``pottedplant`` are one."""
    return "".join(letter for letter in name.casefold() if letter not in "_-" and not letter.isspace())


def normalised(name: str) -> str:
    """:func:`plain`, after aliases: ``Aeroplane`` and ``airplane`` are one."""
    return ALIASES.get(plain(name), plain(name))


def same_names(names: Sequence[str | None], others: Sequence[str | None]) -> tuple[int, ...]:
    """For each of `names` the index of its namesake among `others`, or -1.

    Two of `others` that are one but for their spelling (``a`` and ``A``) are two classes: each is found by its exact name,
    and a name that is neither exactly is found only where a single one is nearest. One that has its exact name among `names`
    is found only by that.

    Args:
        names, others: None for entries without a name, which are never found.
    """
    exact = {name: index for index, name in enumerate(others) if name is not None}
    near: list[dict[str, list[int]]] = [{}, {}]
    known = set(names)
    for name, index in exact.items():
        if name not in known:
            for level, form in zip(near, (plain, normalised), strict=True):
                level.setdefault(form(name), []).append(index)

    def find(name: str | None) -> int:
        if name is None or name in exact:
            return -1 if name is None else exact[name]
        found = near[0].get(plain(name)) or near[1].get(normalised(name), [])
        return found[0] if len(found) == 1 else -1

    return tuple(find(name) for name in names)
