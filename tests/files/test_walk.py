"""Folders: hidden files, links, loops, and what is skipped."""

import os

import pytest

from effdet.files import is_image, matching, walk


def touch(directory, *names):
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_hidden_files_and_folders_are_skipped_at_every_depth(tmp_path):
    touch(
        tmp_path, "a.jpg", "._a.jpg", ".b/c.jpg", "__MACOSX/d.jpg", "e/.ipynb_checkpoints/f.jpg", "e/g.JPG", "Thumbs.db"
    )
    found = walk(tmp_path, is_image)
    assert found.names() == ["a.jpg", "e/g.JPG"]
    assert not found.skipped


def test_the_folder_itself_may_be_hidden(tmp_path):
    touch(tmp_path / ".cache" / "set", "a.jpg")
    assert walk(tmp_path / ".cache" / "set", is_image).names() == ["a.jpg"]


def test_skipped_files_are_counted(tmp_path):
    touch(tmp_path, "a.jpg", "b.heic", "c.HEIC", "d.npy", "notes.txt", "README")
    found = walk(tmp_path, is_image)
    assert found.skipped == {".heic": 2, ".npy": 1, "": 1}
    assert found.said() == "4 files skipped, not images by their names (.heic × 2, no suffix × 1, .npy × 1)"


def test_links_are_followed_and_loops_are_not(tmp_path):
    touch(tmp_path / "elsewhere", "x.jpg", "sub/y.jpg")
    touch(tmp_path / "set", "a.jpg")
    os.symlink(tmp_path / "elsewhere", tmp_path / "set" / "linked")
    os.symlink(tmp_path / "elsewhere" / "x.jpg", tmp_path / "set" / "b.jpg")
    os.symlink(tmp_path / "set", tmp_path / "elsewhere" / "sub" / "back")
    os.symlink(tmp_path / "gone.jpg", tmp_path / "set" / "broken.jpg")
    found = walk(tmp_path / "set", is_image)
    assert found.names() == ["a.jpg", "b.jpg", "broken.jpg", "linked/sub/y.jpg", "linked/x.jpg"]
    assert found.loops == [tmp_path / "set" / "linked" / "sub" / "back"]


def test_folders_and_pipes_with_the_name_of_an_image_are_not_images(tmp_path):
    touch(tmp_path, "a.jpg/b.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert walk(tmp_path, is_image).names() == ["a.jpg/b.jpg"]
    assert walk(tmp_path, is_image, deep=False).names() == []


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        walk(tmp_path / "gone", is_image)


def test_a_link_to_a_folder_around_the_listed_one_is_not_followed(tmp_path):
    touch(tmp_path, "images/a.jpg", "masks/b.jpg")
    os.symlink(tmp_path, tmp_path / "images" / "back")
    found = walk(tmp_path / "images", is_image)
    assert found.names() == ["a.jpg"] and found.loops == [tmp_path / "images" / "back"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["a.jpg"]),
        ("*/*.jpg", ["b/c.jpg"]),
        ("**/*.jpg", ["a.jpg", "b/c.jpg", "b/d/e.jpg"]),
        ("b/**/*.jpg", ["b/c.jpg", "b/d/e.jpg"]),
        ("**", ["a.jpg", "b", "b/c.jpg", "b/d", "b/d/e.jpg", "back", "one", "two"]),
        (".*.jpg", [".f.jpg"]),
        ("[ab].jp?", ["a.jpg"]),
        ("b/../a.jpg", ["b/../a.jpg"]),
    ],
)
def test_patterns_among_links_that_lead_back(tmp_path, pattern, expected):
    """Two links that lead back would take a plain glob 2⁴⁰ steps."""
    touch(tmp_path, "a.jpg", "b/c.jpg", "b/d/e.jpg", ".f.jpg", ".g/h.jpg")
    for name in ("back", "one", "two"):
        os.symlink(tmp_path, tmp_path / name)
    found = sorted(path.relative_to(tmp_path).as_posix() for path in matching(tmp_path, pattern.split("/")))
    assert found == expected
