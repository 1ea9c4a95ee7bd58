"""VOC XML: names that disagree, and corners that count from 0."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from effdet.data.checks import Findings
from effdet.data.doctor.issues import Issues
from effdet.data.spec import DataSpec
from effdet.data.voc import ImageNames, layout, listed, read_xml, xml_files
from effdet.files import FileError


def check_voc(spec: DataSpec, issues: Issues) -> None:
    """Notes what is odd in the XML files of a split."""
    annotations, images, stems = layout(spec)
    there, files = ImageNames(images, Findings()), xml_files(annotations)
    _check_list(spec, issues)
    for stem in sorted(stems & files.keys()):
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
            text = f"filename is {named!r:.80}, the file is called {path.name}: the picture of the file's name is taken"
            issues.note("other-filename", path, text, item="filename", split=spec.split)
        for place, node in enumerate(root.findall("object"), start=1):
            low = [(node.findtext(f"bndbox/{corner}") or "").strip() for corner in ("xmin", "ymin")]
            if any(value in ("0", "0.0") for value in low):
                name = (node.findtext("name") or "").strip()
                text = f"xmin, ymin are {', '.join(low)}; the first pixel is 1"
                issues.note("zero-based", path, text, item=f"object {place} ({name})", split=spec.split)


def _check_list(spec: DataSpec, issues: Issues) -> None:
    found = listed(spec)
    if found is None:
        return
    path, names = found
    for name in sorted({name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else ()):
        issues.note(
            "listed-twice", path, f"{name} stands in the list {names.count(name)} times", item=name, split=spec.split
        )
