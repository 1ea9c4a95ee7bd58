"""Arguments as words and flags."""

import pytest

from effdet.cli.words import Word, split_words


def test_words_are_split_at_the_first_equals_sign():
    words = split_words(["data.root=/a=b", "seed=1", "weights="])
    assert words.words == (Word("data.root", "/a=b"), Word("seed", "1"), Word("weights", ""))
    assert not words.problems
    assert words.get("seed") == "1"
    assert words.get("model") is None


@pytest.mark.parametrize("flags", [["--print"], ["--cfg"], ["--cfg", "job"], ["cfg=true"]])
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
