"""Arguments as words and flags."""

import pytest

from effdet.cli.overrides import Word, split_words


def test_words_are_split_at_the_first_equals_sign():
    words = split_words(["data.root=/a=b", "seed=1", "weights="])
    assert words.words == (Word("data.root", "/a=b"), Word("seed", "1"), Word("weights", ""))
    assert not words.problems
    assert words.get("seed") == "1"
    assert words.get("model") is None


@pytest.mark.parametrize("flags", [["--print"], ["cfg=true"]])
def test_the_configuration_can_be_shown(flags):
    words = split_words([*flags, "seed=1"])
    assert words.show
    assert words.words == (Word("seed", "1"),)


def test_config_dir(tmp_path):
    for arguments in (["--config-dir", str(tmp_path)], [f"--config-dir={tmp_path}"]):
        assert split_words(arguments).config_dir == tmp_path
    assert "name the folder" in split_words(["--config-dir"]).problems[0]


def test_positional_words_and_switches():
    words = split_words(["b0", "--env"], positional=["model"], switches=["env"])
    assert words.words == (Word("model", "b0"), Word("env", "true"))
    assert split_words(["model=b0", "b1"], positional=["model"]).problems


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("coco", "not a key=value word"),
        ("--seed=1", "write seed=1"),
        ("~seed=1", "write seed=1"),
        ("++seed=1", "write seed=1"),
        ("--pint", "did you mean --print?"),
        ("-x", "no such flag"),
        ("=1", "a key is missing"),
    ],
)
def test_what_is_no_word_is_told(argument, text):
    (problem,) = split_words([argument]).problems
    assert text in problem


def test_a_word_given_twice_is_told():
    assert split_words(["seed=1", "seed=2"]).problems == ("seed: given more than once (1, 2); give it once",)


def test_hydras_flags():
    words = split_words(
        ["--cfg", "job", "-p", "optimizer", "--resolve", "-cn", "mine", "-cd", "/own", "hydra.verbose=true"]
    )
    assert (words.cfg, words.package, words.resolve, words.config_name) == ("job", "optimizer", True, "mine")
    assert words.hydra == ("hydra.verbose=true",)
    assert words.flags() == ["--config-dir", "/own", "--config-name", "mine"]
    assert not words.problems and not words.multirun
    assert split_words(["-m", "+hydra.launcher.x=1", "seed=1,2"]).hydra == ("+hydra.launcher.x=1",)
    assert split_words(["hydra.mode=MULTIRUN"]).multirun
    assert split_words(["--multirun"]).multirun


@pytest.mark.parametrize(
    ("arguments", "part"), [(["-i"], "all"), (["--info", "seed=1"], "all"), (["--info=plugins"], "plugins")]
)
def test_info_takes_a_part_or_none(arguments, part):
    assert split_words(arguments).info == part


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--cfg"], "--cfg: name a part (job, hydra, all)"),
        (["--cfg", "jbo"], "--cfg jbo: no such part; did you mean job?"),
        (["--info", "plugin"], "did you mean plugins?"),
        (["-m", "--cfg", "job"], "--cfg --multirun: give one of them"),
        (["--resolve"], "--resolve: goes with --cfg"),
        (["-cn"], "name your own primary file, -cn NAME"),
        (["-cp", "x"], "add yours by --config-dir DIR"),
        (["--shell-completion"], "no completion"),
    ],
)
def test_wrong_use_of_hydras_flags_is_told(arguments, text):
    assert text in split_words(arguments).problems[0]
