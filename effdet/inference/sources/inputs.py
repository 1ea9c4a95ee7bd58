"""What a text names: the images and videos of a file, a folder, a pattern or a list file; a camera; a stream."""

from __future__ import annotations

import os
import platform
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from effdet.addresses import is_address, is_pattern, matches, without_credentials
from effdet.files import FileError, image_suffixes, is_hidden, is_image, read_lines, shown, walk
from heads.structures import UserError

LISTS = (".txt", ".lst")
"""Names of files that hold one path a line."""
VIDEO_SUFFIXES = frozenset(
    {
        *(".mp4", ".m4v", ".mp4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v", ".mj2"),
        *(".avi", ".divx", ".mkv", ".mk3d", ".webm", ".flv", ".wmv", ".asf", ".ogv", ".ogm", ".nut", ".ivf", ".y4m"),
        *(".mpg", ".mpeg", ".mpe", ".m1v", ".m2v", ".vob"),
        *(".ts", ".mts", ".m2ts", ".m2t", ".tp", ".trp", ".mxf", ".gxf", ".dv", ".wtv", ".rm", ".rmvb"),
        *(".h261", ".h263", ".h264", ".264", ".avc", ".h265", ".265", ".hevc", ".h266", ".266", ".obu", ".av1"),
        *(".mjpg", ".mjpeg", ".dav"),
    }
)
"""Of what FFmpeg reads, in lower case."""
_CAMERA = re.compile(r"(?:camera:)?(\d+)|(/dev/video\d+)")


@dataclass(frozen=True)
class Inputs:
    """What a text names, each sorted by path; a list file's in its own order."""

    images: list[Path]
    videos: list[Path]


def find_inputs(source: str, *, leave_out: Path | None = None) -> Inputs:
    """The images and videos of `source`.

    Args:
        source: as in `find_images`, or a video; folders, patterns and lists may hold videos too.
        leave_out: a folder whose files are our own results.

    Raises:
        UserError: there are none, or a list names one that is not there.
    """
    found = _found(source, leave_out, lambda name: is_image(name) or is_video_name(name), "images or videos")
    named = Path(source).is_file()  # as named; TypeScript's .ts files are found in folders only
    videos = {path for path in found if (is_video_name(path.name) if named else is_video_file(path))}
    return Inputs(
        [path for path in found if path not in videos and (named or not is_video_name(path.name))],
        [path for path in found if path in videos],
    )


def find_images(source: str, *, leave_out: Path | None = None) -> list[Path]:
    """The images of `source`.

    Args:
        source: an image; a folder, searched with all below it; a pattern, ``**`` for folders of any depth (what is there
            under that very name is not a pattern); or a list file: one path a line, relative to the list's folder or to the
            current one, ``#`` for remarks. Folders and patterns leave out hidden files and what is not an image by its
            name, and warn of the latter; a pattern that names a suffix takes what has it.
        leave_out: a folder whose images are our own results.

    Returns:
        Sorted by path; a list file's in its own order.

    Raises:
        UserError: there are none, or a list names one that is not there.
    """
    return _found(source, leave_out, is_image, "images")


def _found(source: str, leave_out: Path | None, requested: Callable[[str], bool], what: str) -> list[Path]:
    path = Path(source)
    if path.is_file():
        return _listed(path) if path.suffix.lower() in LISTS else [path]
    if path.is_dir():
        listing = walk(path, requested, leave_out=leave_out)
        found = listing.paths
        if said := listing.said(what):
            warnings.warn(f"source={shown(source)}: {said}", stacklevel=3)
    else:
        found = _matching(source, leave_out, requested, what) if is_pattern(source) else []
    if not found:
        there = f"a folder without {what}" if path.is_dir() else "no such image, folder, pattern or video"
        raise UserError(
            f"source={without_credentials(source)}: {there} (images end in {', '.join(sorted(image_suffixes()))})"
        )
    return found


def _matching(pattern: str, leave_out: Path | None, requested: Callable[[str], bool], what: str) -> list[Path]:
    """The files that a pattern means: none that is hidden, but for what it names itself."""
    ours = None if leave_out is None else leave_out.resolve()
    named = set(Path(pattern).parts)
    found = [
        entry
        for entry in matches(pattern)
        if entry.is_file()
        and not any(is_hidden(part) and part not in named for part in entry.parts)
        and (ours is None or ours not in entry.resolve().parents)
    ]
    if not is_pattern(os.path.splitext(pattern)[1]) and os.path.splitext(pattern)[1]:
        return found
    named_so = [entry for entry in found if requested(entry.name)]
    if count := len(found) - len(named_so):
        warnings.warn(f"source={shown(pattern)}: {count} files skipped, not {what} by their names", stacklevel=4)
    return named_so


def _listed(path: Path) -> list[Path]:
    try:
        lines = read_lines(path)
    except FileError as error:
        raise UserError(f"{error} (a list of images holds one path a line)") from None
    found = []
    for number, line in enumerate(lines, start=1):
        name = line.strip()
        if not name:
            continue
        # The line as it stands first: names may begin with # or end in a space.
        tries = [directory / os.path.expanduser(text) for text in (line, name) for directory in (path.parent, Path())]
        image = next((entry for entry in tries if entry.is_file()), None)
        if image is None and name.startswith("#"):
            continue
        if image is None:
            raise UserError(
                f"{shown(path)}, line {number}: {shown(name)}: no such image (relative to {shown(path.parent)}, or to here)"
            )
        found.append(image)
    if not found:
        raise UserError(f"source={path}: the list names no image; it takes one path a line")
    return found


def is_video(source: str) -> bool:
    """Whether `source` is a video's name, a URL, or a camera (``0``, ``camera:0``, ``/dev/video0``)."""
    if Path(source).is_dir() or is_pattern(source):
        return False
    return is_address(source) or is_camera(source) or Path(source).suffix.lower() in VIDEO_SUFFIXES


def is_video_name(name: str) -> bool:
    """Whether a file of this name is taken for a video when its folder is listed."""
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


def is_video_file(path: Path) -> bool:
    """As `is_video_name`, but for TypeScript's ``.ts``, which is text."""
    if path.suffix.lower() != ".ts":
        return is_video_name(path.name)
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return True  # what is wrong is said when it is opened
    return b"\0" in head or not head


def is_camera(source: str) -> bool:
    """Whether `source` names a camera; a file called ``0`` is that file."""
    return _CAMERA.fullmatch(source) is not None and not Path(source).is_file()


def camera_device(source: str) -> tuple[str, str] | None:
    """(name, format) of a camera as the system's capture layer wants them; None for anything else."""
    if (camera := _CAMERA.fullmatch(source)) is None:
        return None
    number = camera[1] or re.sub(r"\D", "", camera[2])
    match platform.system():
        case "Darwin":
            return number, "avfoundation"
        case "Windows":
            return f"video={number}", "dshow"
    return f"/dev/video{number}", "v4l2"


def video_name(source: str) -> str:
    """A name for files: the video's own without its ending, ``camera-0``, or the end of a URL's path, else its host."""
    if camera := _CAMERA.fullmatch(source):
        return f"camera-{camera[1] or Path(camera[2]).name}"
    shown = without_credentials(source)
    host, *parts = shown.partition("://")[2].split("/") if is_address(source) else ["", source]
    last = next((part for part in reversed(parts) if part), None)
    stem = Path(last).stem if last is not None else host
    return re.sub(r"[^\w.-]+", "-", stem) or "stream"
