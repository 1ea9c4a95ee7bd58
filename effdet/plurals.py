"""Counts with their nouns, for console output and messages."""

from __future__ import annotations


def counted(count: int, noun: str, spec: str = "") -> str:
    """`count` with `noun` in its form: ``1 box``, ``0 boxes``, ``2 boxes``. `spec` formats the number."""
    plural = "es" if noun.endswith(("s", "x", "ch")) and not noun.endswith("epoch") else "s"
    return f"{count:{spec}} {noun}{'' if count == 1 else plural}"
