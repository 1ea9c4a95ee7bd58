"""Shards -> a dataset like any other: an image is one read at a known place of a tar.

The tars lie in a folder, or at an address from which they are fetched one by one into a cache of bounded size.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from PIL import Image

from effdet.addresses import without_credentials
from effdet.data.checks import DataError, Findings
from effdet.data.images import DECODE_ERRORS, OnError, read_image
from effdet.data.records import Dataset, Record
from effdet.data.shards.index import Shard, ShardIndex, index_path, load_index
from effdet.data.spec import DataSpec
from effdet.files import encode_name, scratch_folder
from effdet.hub import DownloadError, below, cache_dir, download


class RemoteStore:
    """Shards at ``http(s)://…``; at most `gigabytes` of them stay on this disk, those used last.

    Args:
        url: the address of the folder.
        gigabytes: bound of the cache, in 10⁹ bytes; a shard larger than that is kept while it is the newest.
    """

    def __init__(self, url: str, *, gigabytes: float) -> None:
        self.url = url.rstrip("/")
        self.limit = gigabytes * 1e9
        self.directory = cache_dir("shards", hashlib.sha256(self.url.encode()).hexdigest()[:16])

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


_OPEN_FILES = 16


class ShardDataset(Dataset):
    """A split in shards. :attr:`groups` tells the loader which images lie together."""

    def __init__(self, index: ShardIndex, store: Path | RemoteStore, *, split: str, window: int) -> None:
        """
        Args:
            index: of the split.
            store: folder of the tars (a disk, or a mounted bucket), or their address.
            split: its name.
            window: shards whose images are mixed with each other in training.
        """
        super().__init__(
            index.table,
            index.classes,
            name="shards",
            split=split,
            labelled=index.labelled,
            semantic_classes=index.semantic_classes,
        )
        self.groups = index.shard
        self.window = window
        self._index, self._store = index, store
        self._files: dict[int, int] = {}

    def read_image(
        self, record: Record, *, on_error: OnError = "error", at_least: tuple[int, int] | None = None
    ) -> np.ndarray:
        row = self._row(record)
        content = self._read(row, self._index.offset, self._index.length)
        return read_image(record.image, size=record.size, on_error=on_error, at_least=at_least, content=content)

    def read_mask(self, record: Record) -> np.ndarray | None:
        row = self._row(record)
        if not self._index.mask_length[row]:
            return None
        content = self._read(row, self._index.mask_offset, self._index.mask_length)
        try:
            with Image.open(io.BytesIO(content), formats=("PNG",)) as mask:
                if mask.size != (record.width, record.height) or mask.mode != "L":
                    raise DataError(f"{record.image}: its mask is {mask.mode} of {mask.size}, not grey of its own size")
                return np.array(mask)
        except DataError:
            raise
        except DECODE_ERRORS as error:
            raise DataError(f"{record.image}: its mask cannot be decoded ({type(error).__name__})") from None

    def subset(self, indices: Sequence[int] | np.ndarray) -> Dataset:
        smaller = super().subset(indices)
        smaller.groups = self.groups[np.asarray(indices, np.int64)]  # type: ignore[index]
        return smaller

    def beside(self, index: int) -> tuple[int, int]:
        """The images of the same shard, so that a mosaic opens no other."""
        assert self.groups is not None
        if len(self.groups) > 1 and (np.diff(self.groups) < 0).any():
            return super().beside(index)
        low, high = np.searchsorted(self.groups, [self.groups[index], self.groups[index] + 1])
        return int(low), int(high)

    def fingerprint(self) -> str:
        """Beside the labels: how the images lie, which decides their order."""
        assert self.groups is not None
        order = f"{self.window} {np.ascontiguousarray(self.groups).tobytes().hex()}"
        return hashlib.sha256(f"{super().fingerprint()} {order}".encode()).hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": {}}  # open files stay in their process

    def _row(self, record: Record) -> int:
        """A member's name begins with its position in the index."""
        paths, stem = self._index.table.paths, record.image.name.partition(".")[0]
        row = int(stem) if stem.isascii() and stem.isdigit() else -1
        name = encode_name(f"{record.image.parent.name}/{record.image.name}")
        if not 0 <= row < len(paths) or paths[row] != name:
            raise DataError(f"{record.image}: the index names another image by this number; write the shards anew")
        return row

    def _read(self, row: int, offsets: np.ndarray, lengths: np.ndarray) -> bytes:
        number, offset, length = int(self._index.shard[row]), int(offsets[row]), int(lengths[row])
        content = os.pread(self._open(number), length, offset)
        if len(content) != length:
            raise DataError(
                f"{self._index.shards[number].file}: ends before the {length} bytes at {offset}; fetch it again"
            )
        return content

    def _open(self, number: int) -> int:
        """A file stays readable while it is open, even if the cache has thrown it out."""
        if number not in self._files:
            while len(self._files) >= _OPEN_FILES:
                os.close(self._files.pop(next(iter(self._files))))
            shard, store = self._index.shards[number], self._store
            try:
                path = store / shard.file if isinstance(store, Path) else store.path(shard)
                self._files[number] = os.open(path, os.O_RDONLY)
            except OSError as error:
                raise DataError(f"{shard.file}: cannot be read ({error.strerror})") from None
        return self._files[number]


def open_shards(spec: DataSpec, findings: Findings) -> Dataset:
    """The split of shards that `spec` names, in a folder or at an address."""
    if (spec.root is None) == (spec.url is None):
        raise DataError(
            f"{spec.title}: say where the shards lie, with data.root=DIR or with data.url=ADDRESS (not both)"
        )
    if spec.url is not None:
        store = RemoteStore(spec.url, gigabytes=spec.cache_gb)
        index = store.fetch_index(spec.file_split)
    else:
        root = spec.need_root()
        path = index_path(root, spec.file_split)
        if not path.is_file():
            raise spec.lacks_split(f"{path.name} (effdet shards writes it)")
        index, store = load_index(path), root
        for shard in index.shards:
            path = root / shard.file
            found = path.stat().st_size if path.is_file() else None
            if found is None:
                findings.error("missing-shard", path, "no such file")
            elif found != shard.size:
                findings.error("damaged-shard", path, f"has {found:,} bytes, the index says {shard.size:,}")
    return ShardDataset(index, store, split=spec.split, window=spec.window)
