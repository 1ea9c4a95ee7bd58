"""Where shards come from: a folder, or an address whose tars are fetched one by one into a cache of bounded size."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from filelock import FileLock

from effdet.addresses import without_credentials
from effdet.data.checks import DataError
from effdet.data.shards.index import Shard, ShardIndex, index_path, load_index
from effdet.files import scratch_folder
from effdet.hub import DownloadError, below, cache_dir, download


class Store(Protocol):
    """Gives the path of a shard that can be opened now."""

    def path(self, shard: Shard) -> Path: ...


class FolderStore:
    """Shards in a folder: a disk, or a mounted bucket."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, shard: Shard) -> Path:
        return self.root / shard.file


class RemoteStore:
    """Shards at ``http(s)://…``; at most `gigabytes` of them stay on this disk, those used last.

    Args:
        url: the address of the folder.
        gigabytes: bound of the cache, in 10⁹ bytes; a shard larger than that is kept while it is the newest.
        folder: of the cache; by default ``shards/HASH`` in the cache folder.
    """

    def __init__(self, url: str, *, gigabytes: float, directory: Path | None = None) -> None:
        self.url = url.rstrip("/")
        self.limit = gigabytes * 1e9
        self.directory = directory or cache_dir("shards", hashlib.sha256(self.url.encode()).hexdigest()[:16])

    def fetch_index(self, split: str) -> ShardIndex:
        """The index, fetched anew each time: it is small, and says which shards are current."""
        with scratch_folder(self.directory) as directory:
            path = self._download(index_path(directory, split).name, None, directory)
            return load_index(path, root=self.directory)

    def path(self, shard: Shard) -> Path:
        path = self.directory / shard.file
        if not path.is_file():
            path = self._download(shard.file, shard.sha256, self.directory)
            self._trim(keep=path)
        with suppress(OSError):  # another process may have trimmed it; whoever opens it next fetches it again
            os.utime(path)
        return path

    def _download(self, name: str, sha256: str | None, directory: Path) -> Path:
        try:
            return download(below(self.url, name), file_name=name, sha256=sha256, directory=directory, progress=False)
        except DownloadError as error:
            raise DataError(f"data.url={without_credentials(self.url)}: {error}") from None

    def _trim(self, *, keep: Path) -> None:
        """Remove what was used longest ago, until the rest is within the bound."""
        with FileLock(self.directory / "trim.lock"):
            tars = sorted(self.directory.glob("*.tar"), key=lambda path: path.stat().st_mtime)
            total = sum(path.stat().st_size for path in tars)
            for path in tars:
                if total <= self.limit or path == keep:
                    continue
                total -= path.stat().st_size
                path.unlink(missing_ok=True)
