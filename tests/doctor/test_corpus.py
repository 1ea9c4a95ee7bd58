"""Doctor finds each defect of the corpus by kind, file and object, and nothing of the kind in the clean twin."""

from __future__ import annotations

from pathlib import Path

import pytest

from effdet.data import OPENERS, DataSpec
from effdet.doctor import ISSUE_TYPES, CoverageSettings, Diagnosis, examine, page_of, repair
from effdet.doctor.repair import REPAIRERS
from effdet.preprocess import Preprocess
from tests.doctor.defects import DEFECTS, Defect
from tests.doctor.sets import FORMATS

SETTINGS = CoverageSettings(Preprocess((128, 128)))
HERE = [defect for defect in DEFECTS if defect.data in OPENERS]
FIXABLE = [defect for defect in HERE if defect.repaired and defect.data in REPAIRERS]


def diagnosis(data: str, root: Path) -> Diagnosis:
    return examine(DataSpec(data, root), coverage=SETTINGS, workers=0, progress=False)


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Diagnosis]:
    found = {}
    for data in FORMATS:
        if data in OPENERS:
            root = tmp_path_factory.mktemp(data)
            FORMATS[data](root)
            found[data] = diagnosis(data, root)
    return found


def name_of(defect: Defect) -> str:
    return f"{defect.data}-{defect.name}"


def broken(defect: Defect, root: Path) -> Path:
    FORMATS[defect.data](root)
    defect.make(root)
    return root


@pytest.mark.parametrize("defect", HERE, ids=name_of)
def test_the_defect_is_named(defect: Defect, tmp_path: Path, twins: dict[str, Diagnosis]) -> None:
    found = diagnosis(defect.data, broken(defect, tmp_path))
    known = ISSUE_TYPES[defect.kind]
    assert known.level == defect.level
    named = [(issue.file, issue.item) for issue in found.issues.of(defect.kind)]
    assert any(file.endswith(defect.file) and item == defect.item for file, item in named), (
        f"{defect.kind}: {named}, of {dict(found.issues.counts)}"
    )
    assert twins[defect.data].issues.counts[defect.kind] == 0
    if defect.level != "error":  # and no error beside it
        assert not found.fails("error"), [str(issue) for issue in found.issues]
    page_of(found).render()  # whatever is wrong, the page can be drawn


@pytest.mark.parametrize("defect", FIXABLE, ids=name_of)
def test_the_repaired_copy_has_no_error(defect: Defect, tmp_path: Path) -> None:
    root = broken(defect, tmp_path / "set")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    made = repair(diagnosis(defect.data, root), tmp_path / "repaired")
    again = diagnosis(defect.data, made.directory).issues
    assert again.total("error") == 0, [str(issue) for issue in again if again.kind(issue.kind).level == "error"]
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_the_clean_twins_are_clean(twins: dict[str, Diagnosis]) -> None:
    for found in twins.values():
        assert dict(found.issues.counts) == {}


def test_the_corpus_is_large() -> None:
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS) >= 40
