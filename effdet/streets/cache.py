"""Where the generated set lives, and how it gets there: under a lock, in a temporary folder, renamed when complete."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from filelock import FileLock

from effdet.files import making_folder
from effdet.hub import cache_dir, sha256_of
from effdet.streets.render import size_of
from effdet.streets.write import write
from heads.structures import UserError

VERSION = 2
"""Of the generator: raised whenever an image or a label would differ."""
COUNTS = {"train": 1200, "val": 320, "test": 320}
"""Images of each split by default."""
_MANIFEST = "manifest.json"


def ensure(
    size: int | tuple[int, int] = 256,
    seed: int = 0,
    *,
    train: int = COUNTS["train"],
    val: int = COUNTS["val"],
    test: int = COUNTS["test"],
    root: str | Path | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """The folder of the generated set, drawn now if it is not there yet or not whole.

    Args:
        size: pixels of a side, or (H, W).
        seed: of everything; image i of a split depends only on (seed, split, i), so a larger set begins as a smaller one.
        train: images in the split, likewise `val` and `test`.
        root: the folder that holds generated sets; by default ``streets`` in the cache folder (``EFFDET_CACHE``).
        workers: processes to draw with; by default one a CPU.
        progress: show a bar.

    Returns:
        A folder in COCO form (``annotations/instances_SPLIT.json``, file names below ``leftImg8bit/SPLIT``) and in
        Cityscapes form (``leftImg8bit``, ``gtFine``).
    """
    try:
        height, width = size_of(size)
    except ValueError as error:
        raise UserError(str(error)) from None
    counts = {"train": train, "val": val, "test": test}
    for split, count in counts.items():
        if count < 0 or count > 999_999:
            raise UserError(f"{split}={count} must lie within 0…999999 images")
    if seed < 0 or seed >= 2**63:
        raise UserError(f"seed={seed} must lie within 0…2**63 - 1")
    home = Path(root).expanduser() if root is not None else cache_dir("streets")
    name = f"v{VERSION}-seed{seed}-{height}x{width}-{train}-{val}-{test}"
    directory = home / name
    if is_whole(directory):
        return directory
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / f"{name}.lock"):
        if is_whole(directory):  # another process was faster
            return directory
        if directory.exists():  # files are missing, or were changed
            shutil.rmtree(directory)
        with making_folder(directory) as draft:
            write(draft, (height, width), seed, counts, workers=workers, progress=progress)
            (draft / _MANIFEST).write_text(json.dumps(_manifest(draft), indent=0))
    return directory


def _manifest(directory: Path) -> dict[str, object]:
    """Sizes of all files, and hashes of the annotations."""
    files = {
        path.relative_to(directory).as_posix(): path.stat().st_size
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
    hashes = {name: sha256_of(directory / name) for name in files if name.endswith(".json")}
    return {"version": VERSION, "files": files, "sha256": hashes}


def is_whole(directory: Path) -> bool:
    """Whether every file of a set is there, of the right size, and its annotations unchanged."""
    try:
        manifest = json.loads((directory / _MANIFEST).read_text())
        sizes = all((directory / name).stat().st_size == size for name, size in manifest["files"].items())
        return sizes and all(sha256_of(directory / name) == digest for name, digest in manifest["sha256"].items())
    except (OSError, ValueError, KeyError, AttributeError):
        return False
