"""Fetching named files: the cache folder, and checked downloads with progress, resume, mirrors and one rename at the end.

| variable | meaning |
|---|---|
| ``EFFDET_CACHE`` | the folder for everything fetched or generated; default ``~/.cache/effdet-lightning`` |
| ``EFFDET_MIRROR`` | base addresses, separated by spaces, tried before a file's own address |
| ``EFFDET_OFFLINE`` | ``1``: never touch the network, say so where a file is missing |

The bytes go to ``NAME.part`` beside the target; only a file of the announced length and the right checksum is renamed to
``NAME``. A lock keeps two processes from writing the same part. After a break the rest is asked for with a ``Range``
request; ``If-Range`` makes a server whose file has changed send the whole instead of a tail that does not fit.

Files of the Hugging Face hub come through its own client (the ``hub`` extra), which has its own cache and resume.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, InvalidURL
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from filelock import FileLock

from effdet.addresses import without_credentials, without_credentials_in
from effdet.files import move_into_place
from heads.structures import UserError

_CHUNK = 1 << 18
_SCHEMES = ("http", "https", "file")

Advance = Callable[[int, int | None], None]
"""Called with (bytes so far, whole length or None)."""


class DownloadError(UserError):
    """A file that could not be fetched; the text names each address that was tried and why it failed."""


class _BrokenOff(Exception):
    """The transfer ended early; what arrived is kept and the rest can be asked for."""


class _WrongSum(Exception):
    """The whole file arrived and is not the file asked for."""


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
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(
    addresses: str | Sequence[str],
    *,
    file_name: str | None = None,
    sha256: str | None = None,
    directory: str | Path | None = None,
    progress: bool = True,
    retries: int = 3,
    timeout: float = 30.0,
    backoff: float = 0.5,
) -> Path:
    """Fetch a file into the cache, or return it when it is there already.

    Args:
        addresses: Where the file is, best first. Bases in ``EFFDET_MIRROR`` are tried before them.
        file_name: Its name in the cache; default is the last part of the first address.
        sha256: The hex checksum, whole or its first 8 or more digits. A file that differs is refused.
        directory: Where it goes; default is ``weights`` in the cache folder.
        progress: Show a progress bar on stderr.
        retries: Times that one address is resumed after a break without any progress.
        timeout: Seconds without an answer after which a connection counts as broken.
        backoff: Seconds to wait before the first retry; doubled each time.

    Raises:
        DownloadError: no address gave the file, or ``EFFDET_OFFLINE`` is set and it is not cached.
    """
    addresses = [addresses] if isinstance(addresses, str) else list(addresses)
    name = file_name or unquote(urlsplit(addresses[0]).path).rsplit("/", 1)[-1]
    if not name or Path(name).name != name:
        raise UserError(f"file_name={name!r} must be a plain file name without folders")
    if sha256 is not None and (len(sha256) < 8 or set(sha256.lower()) - set("0123456789abcdef")):
        raise UserError(f"sha256={sha256!r} must be 8 to 64 hex digits")
    target = Path(directory) / name if directory is not None else cache_dir("weights", name)
    if _is_valid(target, sha256):
        return target
    if is_offline():
        raise DownloadError(
            f"{name} is not in the cache ({target.parent}) and EFFDET_OFFLINE is set: unset it, or put the file there"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if _is_valid(target, sha256):  # another process fetched it while this one waited
            return target
        failures: list[str] = []
        for address in [below(base, name) for base in mirrors()] + addresses:
            if urlsplit(address).scheme not in _SCHEMES:
                failures.append(f"{without_credentials(address)}: not an http, https or file address")
                continue
            try:
                with _bar(name, address, enabled=progress) as advance:
                    _fetch(address, target, sha256, retries, timeout, backoff, advance)
                return target
            except (_WrongSum, _BrokenOff, urllib.error.URLError, OSError, HTTPException) as error:
                failures.append(f"{without_credentials(address)}: {_reason(error)}")
    raise DownloadError(f"could not fetch {name}: " + "; ".join(failures))


def _is_valid(target: Path, sha256: str | None) -> bool:
    return target.is_file() and (sha256 is None or sha256_of(target).startswith(sha256.lower()))


def _fetch(
    address: str, target: Path, sha256: str | None, retries: int, timeout: float, backoff: float, advance: Advance
) -> None:
    """Fill ``NAME.part`` from one address, resuming after breaks, then check it and rename it."""
    part = target.with_name(f"{target.name}.part")
    idle, failure = 0, None
    while True:
        before = _size(part)
        try:
            _stream(address, part, trusted=sha256 is not None, timeout=timeout, advance=advance)
            break
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the part is not a prefix of this server's file
                _clear(part)
            if error.code not in (408, 416, 429) and error.code < 500:
                raise
            failure = error
        except (_BrokenOff, urllib.error.URLError, ConnectionError, TimeoutError, HTTPException) as error:
            failure = error
        idle = 0 if _size(part) > before else idle + 1
        if idle > retries:
            raise failure
        time.sleep(backoff * 2**idle)
    found = sha256_of(part)
    if sha256 is not None and not found.startswith(sha256.lower()):
        _clear(part)
        raise _WrongSum(f"its sha256 begins with {found[: len(sha256)]}, expected {sha256}; the file was thrown away")
    move_into_place(part, target)
    _note(part).unlink(missing_ok=True)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _stream(address: str, part: Path, *, trusted: bool, timeout: float, advance: Advance) -> None:
    """Append to `part` what the server still has of the file.

    `trusted`: a checksum will be compared, so that a tail may come from another server than the head did.
    """
    start = _size(part)
    request = _request(address)
    if start:
        validator = _validator(part, address)
        if validator is not None:
            request.add_header("If-Range", validator)
        if validator is not None or trusted:
            request.add_header("Range", f"bytes={start}-")
    with urllib.request.urlopen(request, timeout=timeout) as response:
        headers: HTTPMessage = response.headers
        resumed = getattr(response, "status", 200) == 206 and _first_byte(headers) == start
        if not resumed:
            start = 0
        length = headers.get("Content-Length")
        total = start + int(length) if length and length.isdigit() else None
        free = shutil.disk_usage(part.parent).free
        if total is not None and total - start > free:
            raise UserError(
                f"{part.parent} has {free >> 20} MiB free, {(total - start) >> 20} MiB are needed: set EFFDET_CACHE"
            )
        _write_note(part, address, headers)
        done = start
        with open(part, "ab" if resumed else "wb") as file:
            while piece := response.read(_CHUNK):
                file.write(piece)
                done += len(piece)
                advance(done, total)
    if total is not None and done != total:
        raise _BrokenOff(f"broke off after {done} of {total} bytes")


def below(address: str, name: str) -> str:
    """The address of the file `name` in the folder at `address`, whose query (a signature) stays behind it."""
    base, mark, query = address.partition("?")
    return f"{base.rstrip('/')}/{name}{mark}{query}"


def _request(address: str) -> urllib.request.Request:
    """A user and a password in the address become a header, which is not sent on to where the server redirects to."""
    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    plain = urlunsplit(parts._replace(netloc=host))
    request = urllib.request.Request(plain, headers={"User-Agent": "effdet-lightning", "Accept-Encoding": "identity"})
    if at:
        name, _, password = user.partition(":")
        pair = f"{unquote(name)}:{unquote(password)}".encode()
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(pair).decode()}")
    return request


def _first_byte(headers: HTTPMessage) -> int | None:
    """The offset that a 206 answer starts at, from ``Content-Range: bytes 100-199/200``."""
    span = headers.get("Content-Range", "").removeprefix("bytes ").split("-", 1)[0]
    return int(span) if span.isdigit() else None


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _write_note(part: Path, address: str, headers: HTTPMessage) -> None:
    """Keep what identifies the server's version of the file, to resume only that version."""
    tag = headers.get("ETag")
    validator = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")
    _note(part).write_text(
        json.dumps({"address": hashlib.sha256(address.encode()).hexdigest(), "validator": validator})
    )


def _validator(part: Path, address: str) -> str | None:
    try:
        note = json.loads(_note(part).read_text())
    except (OSError, ValueError):
        return None
    same = note.get("address") == hashlib.sha256(address.encode()).hexdigest()
    return note.get("validator") if same else None


def _clear(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    if isinstance(error, InvalidURL):  # its text quotes the address
        return "not a valid address; in a user or a password, / @ : and ? are written with percent signs"
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return f"no connection ({without_credentials_in(str(error.reason))})"
    return without_credentials_in(str(error)) or type(error).__name__


@contextmanager
def _bar(name: str, address: str, *, enabled: bool) -> Iterator[Advance]:
    """A rich progress bar on stderr that is drawn from the first byte on, so that a dead address draws nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), disable=not enabled)
    host = urlsplit(address).netloc.rpartition("@")[2] or "a local file"

    def advance(done: int, total: int | None) -> None:
        if not bar.tasks:
            bar.start()
            bar.add_task(f"{name} from {host}", total=None)
        bar.update(bar.task_ids[0], completed=done, total=total)

    try:
        yield advance
    finally:
        if bar.tasks:
            bar.stop()


@dataclass(frozen=True)
class HubFile:
    """One file of a hub repository."""

    repository: str
    """``owner/name``, for example ``timm/tf_efficientnet_b0.in1k``."""
    file_name: str = "model.safetensors"

    def __str__(self) -> str:
        return f"{self.repository}/{self.file_name}"


def cached_hub_file(file: HubFile) -> Path | None:
    """The file in the hub client's cache, or None. Never touches the network; None also where the client is missing."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    found = try_to_load_from_cache(file.repository, file.file_name)
    return Path(found) if isinstance(found, str) else None


def download_hub_file(file: HubFile) -> Path:
    """Fetch the file, or return it from the cache; offline mode reads only the cache."""
    if (path := cached_hub_file(file)) is not None:
        return path
    if is_offline():
        raise DownloadError(
            f"{file} is not in the Hugging Face cache and EFFDET_OFFLINE is set: unset it to fetch the file"
        )
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise UserError(f"{file} needs the Hugging Face client: pip install 'effdet-lightning[hub]'") from None
    try:
        return Path(hf_hub_download(file.repository, file.file_name))
    except Exception as error:  # the client raises its own and its HTTP library's types, which differ between versions
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise DownloadError(
            f"could not fetch {file} from the Hugging Face hub: {without_credentials_in(reason[0])}"
        ) from error
