"""Reading keys, kinds and explanations from YAML comments."""

from pathlib import Path

import pytest

from effdet.cli.errors import ConfigError
from effdet.cli.folder import choices, conf_dir
from effdet.cli.keys import read_keys
from effdet.cli.kinds import describe

TEXT = """# The title.
#
# More of it.
defaults:
  - data: x
  - _self_

name: x
# a heading
size: 3  # int 1..: how large

# explained above
above: null
free: "a # b"  # str | null: after a quoted hash
part:
  inner: [1, 2]  # [int, int]: a pair
  empty: {}
bare: 0.5
flag: true
"""


@pytest.fixture
def keys(tmp_path):
    path = tmp_path / "file.yaml"
    path.write_text(TEXT)
    return read_keys(path, "group")


def test_keys_have_their_groups_package(keys):
    assert list(keys.keys) == [
        f"group.{name}" for name in ("name", "size", "above", "free", "part.inner", "part.empty", "bare", "flag")
    ]
    assert keys.title == "The title."


@pytest.mark.parametrize(
    ("name", "kinds", "text", "default"),
    [
        ("size", "int ≥ 1", "a heading how large", "3"),
        ("above", None, "explained above", "null"),
        ("free", "str | null", "after a quoted hash", "a # b"),
        ("part.inner", "[int, int]", "a pair", "[1, 2]"),
        ("part.empty", "{}", "", "{}"),
        ("bare", "float | null", "", "0.5"),
        ("flag", "bool | null", "", "true"),
        ("name", None, "", "x"),
    ],
)
def test_comments_are_read(keys, name, kinds, text, default):
    key = keys.keys[f"group.{name}"]
    assert (None if key.kinds is None else describe(key.kinds)) == kinds
    assert key.text == text
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
    assert list(read_keys(path).keys) == ["a"]
    path.write_text("longer: 1\n")
    assert list(read_keys(path).keys) == ["longer"]


def test_broken_yaml_is_one_line(tmp_path):
    path = tmp_path / "file.yaml"
    path.write_text("a: [1,\nb: 2")
    with pytest.raises(ConfigError, match="file.yaml: not valid YAML") as caught:
        read_keys(path)
    assert "\n" not in str(caught.value)


def test_every_file_of_ours_can_be_read_and_says_what_it_is():
    for path in conf_dir().rglob("*.yaml"):
        folder = path.parent.relative_to(conf_dir()).as_posix()
        file = read_keys(path, "" if folder == "." else folder)
        assert file.title, path


def test_the_keys_of_the_commands_are_all_explained():
    for path in conf_dir().glob("*.yaml"):
        for key in read_keys(path).keys.values():
            assert key.written, f"{path.name}: {key.name} names no kinds"
            assert key.text, f"{path.name}: {key.name} is not explained"


def test_choices_are_sorted_as_people_count(tmp_path):
    folder = tmp_path / "backbone"
    folder.mkdir()
    for name in ("b10", "b2", "lite0", "_hidden", "b1"):
        (folder / f"{name}.yaml").touch()
    assert list(choices("backbone", tmp_path)) == ["b1", "b2", "b10", "lite0"]


def test_the_conf_folder_is_the_repositorys():
    assert conf_dir() == Path(__file__).resolve().parents[2] / "conf"
