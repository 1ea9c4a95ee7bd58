"""Distributions that overwrite each other."""

from effdet.cli.app import collisions, installed


def test_a_clean_environment_is_silent():
    assert collisions({"effdet-lightning", "opencv-python-headless", "torch"}) == []


def test_the_other_effdet():
    (line,) = collisions({"effdet", "effdet-lightning"})
    assert "both hold a package 'effdet'" in line
    assert "pip uninstall effdet" in line


def test_two_opencvs():
    (line,) = collisions({"opencv-python", "opencv-python-headless"})
    assert line.startswith("opencv-python and opencv-python-headless are both installed")


def test_installed_names_are_normalised():
    names = installed()
    assert "hydra-core" in names
    assert all(name == name.lower() and "_" not in name for name in names)
