"""Arrays that take long to make from files, kept beside other cached things.

COCO's train2017 (450 MB of JSON, mostly polygons) takes half a minute and 3 GB to parse, in every process of a run; its
arrays are 50 MB and load at once. Files are known by their paths, sizes and times of change.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from effdet.files import encode_name, replacing
from effdet.hub import cache_dir

SMALLEST = 32 * 2**20
"""Bytes from which a file is worth caching."""
VERSION = 4
"""Of what the arrays mean; another one makes older files unread."""

Arrays = dict[str, np.ndarray]


def cached_arrays(path: Path, parse: Callable[[], tuple[Arrays, bool]]) -> Arrays:
    """What `parse` gives for `path`, from the cache where it is known there.

    Args:
        path: the annotation file.
        parse: returns the arrays, and whether they may be cached (not when there was anything to report).
    """
    if path.stat().st_size < SMALLEST:
        return parse()[0]
    target = cached_file("annotations", f"{VERSION} parsed", [path.resolve()])
    if (stored := load_arrays(target)) is not None:
        return stored
    arrays, valid = parse()
    if valid:
        store_arrays(target, arrays)
    return arrays


def cached_file(directory: str, about: str, paths: Iterable[Path]) -> Path:
    """The file in a `directory` of the cache for what is made of the files at `paths`; some of them may be missing.

    Args:
        directory: below the cache folder.
        about: what is made, with its version.
        paths: in order.
    """
    digest = hashlib.sha256(about.encode())
    for path in paths:
        try:
            state = path.stat()
            known = f"{state.st_size} {state.st_mtime_ns}"
        except OSError:
            known = "missing"
        digest.update(encode_name(f"\n{path.absolute()} {known}"))
    return cache_dir(directory, f"{digest.hexdigest()[:32]}.npz")


def load_arrays(target: Path) -> Arrays | None:
    """The arrays that `target` holds, or None where it isn't there, or is corrupt and must be written anew."""
    try:
        with np.load(target, allow_pickle=False) as stored:
            return dict(stored)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None


def store_arrays(target: Path, arrays: Arrays) -> None:
    """Writes beside `target` and renames, so that no process reads half a file. A cache that can't be written is none."""
    with suppress(OSError), replacing(target) as partial:
        np.savez(partial, **arrays)  # pyright: ignore[reportArgumentType]
