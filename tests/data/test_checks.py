"""All that is wrong, reported at once."""

import pytest

from effdet.data.checks import DataError, Findings, missing


def test_nothing_wrong_raises_nothing():
    findings = Findings()
    findings.warning("zero-area", "a.xml", "has no area", item="object 1")
    findings.raise_errors("data=x")
    assert findings.summaries() == ["1 × zero-area (first: a.xml: object 1: has no area)"]


def test_one_error_is_one_line():
    findings = Findings()
    findings.error("missing", "a.jpg", "no such image")
    with pytest.raises(DataError) as caught:
        findings.raise_errors("data=x")
    assert str(caught.value) == "data=x: a.jpg: no such image"


def test_many_errors_are_counted_by_kind():
    findings = Findings()
    for index in range(25):
        findings.error("missing" if index % 5 else "broken", f"{index}.jpg", "bad")
    with pytest.raises(DataError) as caught:
        findings.raise_errors("data=x")
    lines = str(caught.value).splitlines()
    assert lines[0] == "data=x: 25 problems (20 × missing, 5 × broken)"
    assert lines[1] == "  0.jpg: bad"
    assert len(lines) == 12
    assert lines[-1].startswith("  … and 15 more")


def test_missing(tmp_path):
    (tmp_path / "a").touch()
    (tmp_path / "folder").mkdir()
    paths = [tmp_path / name for name in ("b", "a", "folder", "folder/c", "none/d")]
    assert missing(paths) == [0, 2, 3, 4]
