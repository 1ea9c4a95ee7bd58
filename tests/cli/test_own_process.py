"""A command in a process of its own."""

import pytest

from effdet.cli.own_process import run_command
from effdet.cli.words import split_words
from heads.structures import UserError


def test_its_error_is_ours() -> None:
    with pytest.raises(UserError, match="^spede: no such key"):
        run_command("train", split_words(["spede=1"]))
