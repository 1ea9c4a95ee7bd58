"""Where downloaded files live, and what the environment says about fetching them.

| variable | meaning |
|---|---|
| ``EFFDET_CACHE`` | the folder for everything fetched or generated; default ``~/.cache/effdet-lightning`` |
| ``EFFDET_MIRROR`` | base addresses, separated by spaces, tried before a file's own address |
| ``EFFDET_OFFLINE`` | ``1``: never touch the network, say so where a file is missing |
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_CHUNK = 1 << 20


def cache_dir(*parts: str) -> Path:
    """The cache folder, or the folder `parts` inside it. Nothing is created."""
    root = os.environ.get("EFFDET_CACHE", "").strip()
    base = Path(root).expanduser() if root else Path.home() / ".cache" / "effdet-lightning"
    return base.joinpath(*parts)


def cached(file_name: str) -> Path | None:
    """The whole, fetched file of that name, or None. Half-written files have other names and are never found."""
    path = cache_dir("weights", file_name)
    return path if path.is_file() else None


def is_offline() -> bool:
    return os.environ.get("EFFDET_OFFLINE", "").strip().lower() not in {"", "0", "false", "no"}


def mirrors() -> tuple[str, ...]:
    """Base addresses of ``EFFDET_MIRROR``, without their trailing slashes."""
    return tuple(base.rstrip("/") for base in os.environ.get("EFFDET_MIRROR", "").split())


def sha256_of(path: str | Path) -> str:
    """Hex sha256 of a file's bytes, read piece by piece."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()
