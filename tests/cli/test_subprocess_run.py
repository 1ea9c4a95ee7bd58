"""A command in a process of its own."""

import pytest

from effdet.cli.overrides import split_overrides
from effdet.cli.run import run_command
from heads.structures import UserError


def test_its_error_is_ours() -> None:
    with pytest.raises(UserError, match="^spede: no such key"):
        run_command("train", split_overrides(["spede=1"]))
