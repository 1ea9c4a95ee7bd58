"""Regular English plurals; only a count of 1 takes the singular."""

from __future__ import annotations

import pytest

from effdet.plurals import counted


@pytest.mark.parametrize(
    ("count", "noun", "expected"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (2, "box", "2 boxes"),
        (19, "class", "19 classes"),
        (4, "batch", "4 batches"),
        (3, "epoch", "3 epochs"),
    ],
)
def test_only_one_is_singular(count, noun, expected):
    assert counted(count, noun) == expected


def test_the_number_takes_a_format():
    assert counted(1234, "image", ",") == "1,234 images"
