"""Arguments as overrides and flags."""

import pytest

from effdet.cli.overrides import Override, split_overrides


def test_overrides_are_split_at_the_first_equals_sign():
    overrides = split_overrides(["data.root=/a=b", "seed=1", "weights="])
    assert overrides.items == (Override("data.root", "/a=b"), Override("seed", "1"), Override("weights", ""))
    assert not overrides.problems
    assert overrides.get("seed") == "1"
    assert overrides.get("model") is None


@pytest.mark.parametrize("flags", [["--print"], ["cfg=true"]])
def test_the_configuration_can_be_shown(flags):
    overrides = split_overrides([*flags, "seed=1"])
    assert overrides.show
    assert overrides.items == (Override("seed", "1"),)


def test_config_dir(tmp_path):
    for arguments in (["--config-dir", str(tmp_path)], [f"--config-dir={tmp_path}"]):
        assert split_overrides(arguments).config_dir == tmp_path
    assert "name the folder" in split_overrides(["--config-dir"]).problems[0]


def test_positional_overrides_and_switches():
    overrides = split_overrides(["b0", "--env"], positional=["model"], switches=["env"])
    assert overrides.items == (Override("model", "b0"), Override("env", "true"))
    assert split_overrides(["model=b0", "b1"], positional=["model"]).problems


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("coco", "not a key=value override"),
        ("--seed=1", "write seed=1"),
        ("~seed=1", "write seed=1"),
        ("++seed=1", "write seed=1"),
        ("--pint", "did you mean --print?"),
        ("-x", "no such flag"),
        ("=1", "a key is missing"),
    ],
)
def test_what_is_no_override_is_reported(argument, text):
    (problem,) = split_overrides([argument]).problems
    assert text in problem


def test_an_override_given_twice_is_reported():
    assert split_overrides(["seed=1", "seed=2"]).problems == ("seed: given more than once (1, 2); give it once",)


def test_hydras_flags():
    overrides = split_overrides(
        ["--cfg", "job", "-p", "optimizer", "--resolve", "-cn", "mine", "-cd", "/own", "hydra.verbose=true"]
    )
    assert (overrides.cfg, overrides.package, overrides.resolve, overrides.config_name) == (
        "job",
        "optimizer",
        True,
        "mine",
    )
    assert overrides.hydra == ("hydra.verbose=true",)
    assert overrides.flags() == ["--config-dir", "/own", "--config-name", "mine"]
    assert not overrides.problems and not overrides.multirun
    assert split_overrides(["-m", "+hydra.launcher.x=1", "seed=1,2"]).hydra == ("+hydra.launcher.x=1",)
    assert split_overrides(["hydra.mode=MULTIRUN"]).multirun
    assert split_overrides(["--multirun"]).multirun


@pytest.mark.parametrize(
    ("arguments", "part"), [(["-i"], "all"), (["--info", "seed=1"], "all"), (["--info=plugins"], "plugins")]
)
def test_info_takes_a_part_or_none(arguments, part):
    assert split_overrides(arguments).info == part


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--cfg"], "--cfg: name a part (job, hydra, all)"),
        (["--cfg", "jbo"], "--cfg jbo: no such part; did you mean job?"),
        (["--info", "plugin"], "did you mean plugins?"),
        (["-m", "--cfg", "job"], "--cfg --multirun: give one of them"),
        (["--resolve"], "--resolve: goes with --cfg"),
        (["-cn"], "name your primary file, -cn NAME"),
        (["-cp", "x"], "add yours by --config-dir DIR"),
        (["--shell-completion"], "no completion"),
    ],
)
def test_wrong_use_of_hydras_flags_is_reported(arguments, text):
    assert text in split_overrides(arguments).problems[0]
