"""Reading keys, kinds and explanations from YAML comments."""

from pathlib import Path

import pytest

from effdet.cli.overrides import ConfigError
from effdet.cli.schema import choices, conf_dir, read_keys
from heads.fields import describe

TEXT = """# The title.
#
# More of it.

name: x
# a heading
dim: 128  # enough for a thousand
margin: 0.3
scale: "30 # b"  # after a quoted hash
unknown:
  inner: [1, 2]
"""


@pytest.fixture
def keys(tmp_path):
    path = tmp_path / "file.yaml"
    path.write_text("# @package head.embedding\n" + TEXT)
    return read_keys(path, "head")


def test_keys_have_their_groups_package(keys):
    names = ("name", "dim", "margin", "scale", "unknown.inner")
    assert list(keys.keys) == [f"head.embedding.{name}" for name in names]
    assert keys.title == "The title."


@pytest.mark.parametrize(
    ("name", "kinds", "remark", "default"),
    [
        ("dim", "int ≥ 1", "enough for a thousand", "128"),
        ("margin", "float 0…1.5", "", "0.3"),
        ("scale", "float ≥ 1", "after a quoted hash", "30 # b"),
        ("unknown.inner", None, "", "[1, 2]"),
    ],
)
def test_kinds_are_declared_and_comments_are_remarks(keys, name, kinds, remark, default):
    key = keys.keys[f"head.embedding.{name}"]
    assert (None if key.kinds is None else describe(key.kinds)) == kinds
    assert key.remark == remark
    assert key.default == default


def test_package_line_wins(tmp_path):
    path = tmp_path / "file.yaml"
    path.write_text("# @package head.detection\n# Title.\nrepeats: null\n")
    assert list(read_keys(path, "head").keys) == ["head.detection.repeats"]
    path = tmp_path / "task.yaml"
    path.write_text("# @package _global_\ntask:\n  name: x\n")
    assert list(read_keys(path, "task").keys) == ["task.name"]


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "file.yaml"
    path.write_text("a: 1\n")
    assert list(read_keys(path, "data").keys) == ["data.a"]
    path.write_text("longer: 1\n")
    assert list(read_keys(path, "data").keys) == ["data.longer"]


def test_broken_yaml_is_one_line(tmp_path):
    path = tmp_path / "file.yaml"
    path.write_text("a: [1,\nb: 2")
    with pytest.raises(ConfigError, match="file.yaml: not valid YAML") as caught:
        read_keys(path, "data")
    assert "\n" not in str(caught.value)


def test_every_file_of_ours_can_be_read_and_says_what_it_is():
    for path in conf_dir().rglob("*.yaml"):
        directory = path.parent.relative_to(conf_dir()).as_posix()
        file = read_keys(path, "" if directory == "." else directory)
        assert file.title, path


def test_choices_are_sorted_as_people_count(tmp_path):
    directory = tmp_path / "backbone"
    directory.mkdir()
    for name in ("b10", "b2", "lite0", "_hidden", "b1"):
        (directory / f"{name}.yaml").touch()
    assert list(choices("backbone", tmp_path)) == ["b1", "b2", "b10", "lite0"]


def test_the_conf_folder_is_the_repositorys():
    assert conf_dir() == Path(__file__).resolve().parents[2] / "conf"
