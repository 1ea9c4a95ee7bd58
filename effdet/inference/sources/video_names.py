"""Which texts name videos, cameras and streams; and what their results are called."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from effdet.addresses import is_address, is_pattern, without_credentials

SUFFIXES = frozenset(
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


def is_video(source: str) -> bool:
    """Whether `source` is a video's name, a URL, or a camera (``0``, ``camera:0``, ``/dev/video0``)."""
    if Path(source).is_dir() or is_pattern(source):
        return False
    return is_address(source) or is_camera(source) or Path(source).suffix.lower() in SUFFIXES


def is_video_name(name: str) -> bool:
    """Whether a file of this name is taken for a video when its folder is listed."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


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
    """(name, format) of a camera as the system's capture layer wants them; None for what is no camera."""
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
