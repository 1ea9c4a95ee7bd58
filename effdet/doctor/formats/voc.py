"""VOC XML: names that disagree, and corners that count from 0."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from effdet.data.checks import Findings
from effdet.data.spec import DataSpec
from effdet.data.voc import ImageNames, Layout, layout, read_xml, xml_files
from effdet.doctor.issues import Issues
from effdet.files import FileError
from effdet.files.scalars import number


def check_voc(spec: DataSpec, issues: Issues) -> None:
    """Notes what is odd in the XML files of a split."""
    found = layout(spec)
    there, files = ImageNames(found.images, Findings()), xml_files(found.annotations)
    _check_list(found, spec, issues)
    for stem in sorted(files.keys() & set(found.stems)):
        path = files[stem]
        try:
            root = read_xml(path)
        except FileError:
            continue  # noted by the reader
        named = (root.findtext("filename") or "").strip().replace("\\", "/").rsplit("/", 1)[-1]
        taken = there.of(stem, named)
        if (
            named
            and Path(named).stem != PurePosixPath(stem).name
            and taken in there.names
            and Path(taken).name != named
        ):
            text = f"filename is {named!r:.80}, the file is called {path.name}: the image of the file's name is taken"
            issues.note("other-filename", path, text, item="filename", split=spec.split)
        for place, node in enumerate(root.findall("object"), start=1):
            low = [(node.findtext(f"bndbox/{corner}") or "").strip() for corner in ("xmin", "ymin")]
            if any(number(value) == 0 for value in low):
                name = (node.findtext("name") or "").strip()
                text = f"xmin, ymin are {', '.join(low)}; the first pixel is 1"
                issues.note("zero-based", path, text, item=f"object {place} ({name})", split=spec.split)


def _check_list(found: Layout, spec: DataSpec, issues: Issues) -> None:
    path, names = found.listing, found.lines
    if path is None:
        return
    for name in sorted({name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else ()):
        issues.note(
            "listed-twice", path, f"{name} stands in the list {names.count(name)} times", item=name, split=spec.split
        )
