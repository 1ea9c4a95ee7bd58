"""Every reader against every rule about files. A new reader joins with one line in `READERS`.

What is read is compared with what was written, image by image (see `tests.data.readers`). Whatever is read or refused,
nothing of the set changes and nothing is written beside it; what is refused is a UserError that names the file.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from effdet.data import open_dataset
from effdet.doctor import examine, page_of, repair
from effdet.doctor.repair import REPAIRERS
from effdet.files import FileError, image_suffixes
from heads.structures import UserError
from tests.data import readers
from tests.data.readers import Answer

PLAIN = ("0.png", "1.png", "2.png")


@dataclass(frozen=True)
class Reader:
    """One reader."""

    write: Callable[[Path, Sequence[str]], None]
    """Writes a valid set of images of these names."""
    data: str = ""
    """``data=NAME``; empty for a source of ``predict``."""
    settings: dict[str, Any] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    """Text files of the set."""
    directories: tuple[str, ...] = ()
    """Folders whose files are listed."""
    source: str = ""
    """``predict``: what is given, below the root."""
    by_text: bool = False
    """Images are named in a text file, which cannot hold a name that is not UTF-8."""
    named: bool = True
    """Images are files that the user names."""
    suffixes: bool = True
    """Images may have any suffix."""
    count: int = 3
    """Images of `PLAIN`."""
    says: Callable[[int], int | None] = lambda number: number % 2
    """What labels say of image number i."""

    def read(self, root: Path) -> list[Answer]:
        if not self.data:
            return readers.predicted(str(root / self.source) if self.source else str(root))
        return readers.answers(open_dataset(readers.spec(self.data, root, **self.settings)))

    def expected(self, numbers: Sequence[int] | range | None = None) -> list[Answer]:
        found = [(number, self.says(number)) for number in (range(self.count) if numbers is None else numbers)]
        boxed = [(number, number) for number, _ in found] if self.data == "mixed" else []
        return sorted([*found, *boxed])


BOXES: dict[str, Any] = {"says": lambda number: number}
NOTHING: dict[str, Any] = {"says": lambda number: None}
READERS: dict[str, Reader] = {
    "yolo": Reader(
        readers.yolo, "yolo", texts=("data.yaml", "labels/train/0.txt"), directories=("images/train",), **BOXES
    ),
    "yolo-list": Reader(
        readers.yolo_list, "yolo", texts=("data.yaml", "train.txt", "classes.txt"), by_text=True, **BOXES
    ),
    "coco": Reader(readers.coco, "coco", texts=("annotations/instances_train2017.json",), by_text=True, **BOXES),
    "streets": Reader(readers.coco, "streets", texts=("annotations/instances_train2017.json",), by_text=True, **BOXES),
    "voc": Reader(
        readers.voc,
        "voc",
        texts=("ImageSets/Main/train.txt", "Annotations/0.xml"),
        directories=("JPEGImages", "Annotations"),
        by_text=True,
        **BOXES,
    ),
    "bdd100k-boxes": Reader(
        readers.bdd_boxes,
        "bdd100k",
        {"requested": ("boxes",)},
        texts=("labels/det_20/det_train.json",),
        by_text=True,
        **BOXES,
    ),
    "bdd100k-masks": Reader(
        readers.bdd_masks,
        "bdd100k",
        {"requested": ("semantic",)},
        directories=("images/10k/train", "labels/sem_seg/masks/train"),
    ),
    "camvid": Reader(readers.camvid, "camvid", directories=("train", "trainannot")),
    "cityscapes": Reader(
        readers.cityscapes,
        "cityscapes",
        {"requested": ("semantic",)},
        directories=("leftImg8bit/train", "gtFine/train"),
        suffixes=False,
    ),
    "masks": Reader(readers.masks, "masks", texts=("classes.txt",), directories=("images/train", "masks/train")),
    "folder": Reader(readers.directory, "folder", directories=("train", "train/car")),
    "identities": Reader(readers.directory, "folder", {"requested": ("identity",)}, directories=("train", "train/car")),
    "csv": Reader(readers.csv_list, "csv", texts=("train.csv",), by_text=True),
    "cifar10": Reader(
        readers.cifar10,
        "cifar10",
        texts=("cifar-10-batches-bin/batches.meta.txt",),
        directories=("cifar-10-batches-bin",),
        named=False,
        count=5,
    ),
    "cifar100": Reader(
        readers.cifar100,
        "cifar100",
        texts=("cifar-100-binary/fine_label_names.txt",),
        directories=("cifar-100-binary",),
        named=False,
        count=5,
    ),
    "shards": Reader(readers.shards, "shards", directories=("",), **BOXES),
    "mixed": Reader(
        readers.mixed,
        "mixed",
        texts=("boxed/data.yaml", "masked/classes.txt"),
        directories=("boxed/images/train", "masked/masks/train"),
    ),
    "predict-folder": Reader(readers.files, directories=("",), **NOTHING),
    "predict-pattern": Reader(readers.files, source="**/*", directories=("",), **NOTHING),
    "predict-list": Reader(readers.file_list, source="list.txt", texts=("list.txt",), by_text=True, **NOTHING),
}


def cases(*, requested: Callable[[Reader], Any] = lambda reader: True) -> pytest.MarkDecorator:
    names = [name for name, reader in READERS.items() if requested(reader)]
    return pytest.mark.parametrize("reader", [READERS[name] for name in names], ids=names)


def state(root: Path) -> dict[str, tuple[bytes, int]]:
    """Path -> content, or where a link leads, and time of change, of all below `root`."""
    found = {}
    for top, directories, names in os.walk(root):
        for name in (*directories, *names):
            path = Path(top) / name
            if path.is_symlink():
                found[str(path)] = (os.fsencode(os.readlink(path)), path.lstat().st_mtime_ns)
            elif path.is_file():
                found[str(path)] = (path.read_bytes(), path.stat().st_mtime_ns)
            elif path.is_dir():
                found[str(path)] = (b"", path.stat().st_mtime_ns)
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "set"


def check(
    reader: Reader, root: Path, expected: list[Answer], *, also: Callable[[str], bool] = lambda line: False
) -> None:
    """Reads the set, examines it, repairs it; all of that leaves it as it is.

    Args:
        also: findings that are wanted, by their text; other errors and warnings are faults.
    """
    before = state(root)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert reader.read(root) == expected
    if reader.data:
        spec = readers.spec(reader.data, root, **reader.settings)
        found = examine(spec, split="train", workers=0, progress=False)
        reported = [str(issue) for issue in found.issues if found.issues.kind(issue.kind).level == "error"]
        assert [line for line in reported if not also(line)] == []
        out = root.parent / "out"
        found.write_json(out / "doctor.json")
        page_of(found).write(out / "doctor.html")
        json.loads((out / "doctor.json").read_text("utf-8"))
        (out / "doctor.html").read_text("utf-8")
        if reader.data in REPAIRERS:
            made = repair(found, out / "repaired")
            assert reader.read(made.directory) == expected
            copied = {path for path in made.directory.rglob("*") if path.is_file()}
            for path in copied - {made.directory / "repairs.json"}:
                assert path.read_bytes() == (root / path.relative_to(made.directory)).read_bytes()
            assert set(made.done) <= {"other files not copied"}
    assert state(root) == before


def refused(reader: Reader, root: Path) -> str:
    """The text of the error; nothing of the set has changed."""
    before = state(root)
    with pytest.raises(UserError) as caught:
        reader.read(root)
    assert state(root) == before
    text = str(caught.value)
    text.encode("utf-8", "backslashreplace")
    assert "Traceback" not in text
    return text


@cases(requested=lambda reader: reader.data)
def test_names_are_the_same_wherever_the_set_lies(reader: Reader, tmp_path: Path) -> None:
    """``data.val_fraction`` splits by them."""
    named = []
    for directory in ("set", "moved/elsewhere"):
        reader.write(tmp_path / directory, PLAIN)
        dataset = open_dataset(readers.spec(reader.data, tmp_path / directory, **reader.settings))
        named.append(list(dataset.records.file_names))
    assert named[0] == named[1]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
@cases(requested=lambda reader: reader.texts)
def test_byte_order_marks(reader: Reader, root: Path, encoding: str) -> None:
    reader.write(root, PLAIN)
    for name in reader.texts:
        mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
        (root / name).write_bytes(mark + (root / name).read_text("utf-8").encode(encoding))
    check(reader, root, reader.expected())


@cases(requested=lambda reader: reader.texts)
def test_latin1_is_one_error_with_file_byte_and_fix(reader: Reader, root: Path) -> None:
    reader.write(root, PLAIN)
    for name in reader.texts:
        content = (root / name).read_bytes()
        (root / name).write_bytes(content.replace(b"0", b"\xe4", 1) if b"0" in content else content + b"\xe4\n")
        text = refused(reader, root)
        assert Path(name).name in text and "0xe4" in text and "UTF-8" in text and text.count("\n") <= 3, text
        (root / name).write_bytes(content)
    assert reader.read(root) == reader.expected()


@cases(requested=lambda reader: reader.directories)
def test_hidden_files_and_folders(reader: Reader, root: Path) -> None:
    reader.write(root, PLAIN)
    for name in (*reader.directories, ""):
        for other in ("._0.png", ".DS_Store", "Thumbs.db", "desktop.ini", "._0.xml", "._0.txt", "._train.csv"):
            (root / name / other).write_bytes(b"\0\5\x16\7 no image")
        for directory in (".hidden", "__MACOSX", ".ipynb_checkpoints", "@eaDir"):
            (root / name / directory).mkdir(exist_ok=True)
            (root / name / directory / "0.png").write_bytes(b"no image")
            (root / name / directory / "0.xml").write_bytes(b"no XML")
    check(reader, root, reader.expected())


@cases(requested=lambda reader: reader.named)
def test_two_folders_with_files_of_one_name(reader: Reader, root: Path) -> None:
    reader.write(root, ["camA/0.png", "camA/1.png", "camB/1.png", "camB/0.png", "0.png"])
    check(reader, root, reader.expected(range(5)))


SUFFIXES = sorted({".JPG", ".jpe", ".jfif", ".JPEG", ".webp", ".bmp", ".TIF", ".gif", ".tga", ".ppm", ".jp2", ".avif"})


@cases(requested=lambda reader: reader.named and reader.suffixes)
def test_suffixes(reader: Reader, root: Path) -> None:
    names = [f"{number}{suffix}" for number, suffix in enumerate(SUFFIXES) if suffix.lower() in image_suffixes()]
    reader.write(root, names)
    check(reader, root, reader.expected(range(len(names))))


@cases(requested=lambda reader: reader.named and reader.directories and reader.suffixes)
def test_what_is_skipped_is_said(reader: Reader, root: Path) -> None:
    reader.write(root, PLAIN)
    place = next(name for name in reader.directories if name == "" or "ask" not in name.rsplit("/", 2)[-2:][0])
    if reader.data in ("folder",):
        place = "train/car"
    for number in range(2):
        (root / place / f"photo {number}.heic").write_bytes(b"?")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if reader.data:
            said = open_dataset(readers.spec(reader.data, root, **reader.settings)).warnings
        else:
            readers.predicted(str(root / reader.source) if reader.source else str(root))
            said = [str(warning.message) for warning in caught]
    if reader.data != "shards":
        assert any("2 files skipped" in line for line in said), said


NAMES = ("a b.png", "[1] (2).png", "#3.png", "100%.png", "ÄÖ 日本.png", "a,b;c=d&e.png", "it's.png", "~x.png", "*y.png")


@cases(requested=lambda reader: reader.named)
def test_names(reader: Reader, root: Path) -> None:
    reader.write(root, NAMES)
    check(reader, root, reader.expected(range(len(NAMES))))


@cases(requested=lambda reader: reader.named)
def test_a_name_that_is_not_utf8(reader: Reader, root: Path) -> None:
    names = [*PLAIN[:2], os.fsdecode(b"caf\xe9.png")]
    if reader.by_text:
        reader.write(root, names)
        try:
            assert reader.read(root) == reader.expected()
        except UserError:
            refused(reader, root)
        return
    reader.write(root, names)
    check(reader, root, reader.expected())
    if reader.data:
        source = open_dataset(readers.spec(reader.data, root, **reader.settings))
        assert len(source.fingerprint()) == 64
        json.dumps(source.coco())


@cases()
def test_links(reader: Reader, root: Path) -> None:
    """The set is reached through a link, its folders are links, and one leads back."""
    real = root.parent / "elsewhere" / "set"
    reader.write(real, PLAIN)
    for number, name in enumerate(sorted(set(reader.directories) - {""})):
        if not (real / name).is_symlink() and (real / name).is_dir():
            (real / name).rename(root.parent / f"moved-{number}")
            (real / name).symlink_to(root.parent / f"moved-{number}")
    for name in reader.directories:
        (real / name / "back").symlink_to(real)
    root.symlink_to(real)
    check(reader, root, reader.expected())


@cases(requested=lambda reader: reader.named and not reader.by_text)
def test_links_to_files(reader: Reader, root: Path) -> None:
    reader.write(root, PLAIN)
    for number, path in enumerate(sorted(root.rglob("*.png"))):
        target = root.parent / f"file-{number}"
        path.rename(target)
        path.symlink_to(target)
    check(reader, root, reader.expected())


@cases()
def test_an_empty_folder(reader: Reader, root: Path) -> None:
    root.mkdir()
    assert str(root) in refused(reader, root)
    reader.write(root, PLAIN)
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_file():
            path.unlink()
    refused(reader, root)


@cases()
def test_a_broken_image_among_good_ones(reader: Reader, root: Path) -> None:
    reader.write(root, PLAIN)
    kinds = (".png", ".bin", ".tar")
    broken = min(path for path in root.rglob("*") if path.suffix in kinds and "test" not in path.name)
    broken.write_bytes(broken.read_bytes()[:60])
    if reader.data in REPAIRERS:
        found = examine(readers.spec(reader.data, root), split="train", workers=0, progress=False)
        assert [issue.file for issue in found.issues if found.issues.kind(issue.kind).level == "error"] == [str(broken)]
        before = state(root)
        made = repair(found, root.parent / "repaired")
        assert reader.read(made.directory) == reader.expected([1, 2])
        assert made.done["images left out: unusable"] == 1
        assert state(root) == before
    if not reader.data:
        with pytest.raises(UserError, match=broken.name):
            reader.read(root)
        return
    assert broken.name in refused(reader, root)


def test_no_reader_is_left_out() -> None:
    """Each ``data=NAME`` of the configuration is in the table."""
    conf = Path(__file__).parents[2] / "conf" / "data"
    assert {path.stem for path in conf.glob("*.yaml")} == {reader.data for reader in READERS.values() if reader.data}


def test_a_file_error_is_a_user_error() -> None:
    assert issubclass(FileError, UserError)
