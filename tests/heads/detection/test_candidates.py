"""The k largest of millions, against a plain top-k over all of them."""

import pytest
import torch

from heads.detection import candidates
from heads.detection.candidates import largest


def check(logits, count, named=None):
    """Equal to top-k of everything."""
    values, place = largest(logits, count, named=named)
    allowed = logits if named is None else logits.masked_fill(~named, float("-inf"))
    expected = allowed.flatten(1).topk(count).values
    assert torch.equal(values, expected)
    assert torch.equal(allowed.flatten(1).gather(1, place), values)
    assert all(row.unique().numel() == count for row in place)


@pytest.fixture
def guesses(monkeypatch):
    """What each guess of one image came to: True where it was good enough."""
    seen, whole = [], candidates._descend

    def watched(*arguments):
        found = whole(*arguments)
        seen.append(found is not None)
        return found

    monkeypatch.setattr(candidates, "_descend", watched)
    return seen


@pytest.mark.parametrize("anchors", [19206, 49104])
@pytest.mark.parametrize("count", [101, 1537, 5001])
@pytest.mark.parametrize("named", [None, torch.arange(90) % 9 != 4])
def test_networks_sizes(anchors, count, named, guesses):
    """Neighbours are alike, as they are in a network's output: waves along the anchors, under noise."""
    generator = torch.Generator().manual_seed(count)
    waves = torch.linspace(0, 40, anchors).sin()[:, None] * torch.rand(90, generator=generator) * 4
    check((waves + torch.randn(1, anchors, 90, generator=generator) - 6), count, named)
    assert guesses == [True]


@pytest.mark.parametrize(
    "spoiled",
    [
        lambda logits: torch.zeros_like(logits),  # all alike: no bound parts them
        lambda logits: logits.masked_fill((torch.arange(700) % 100 != 3)[:, None], -9.0),  # few differ
        lambda logits: logits.masked_fill(logits < 1, float("-inf")),
        lambda logits: logits.masked_fill(torch.arange(700)[:, None] >= 1, -20.0),  # all in one place
        lambda logits: logits + 9 * (torch.arange(700)[:, None] == 699),  # the best in what is left over
    ],
)
@pytest.mark.parametrize("count", [3, 60])
def test_what_the_sample_cannot_tell(spoiled, count, monkeypatch):
    monkeypatch.setattr(candidates, "_GROUPS", 1024)
    logits = spoiled(torch.randn(1, 700, 50, generator=torch.Generator().manual_seed(0)))
    values, place = largest(logits, count)
    assert torch.equal(values, logits.flatten(1).topk(count).values)
    assert torch.equal(logits.flatten(1).gather(1, place), values)


def test_a_sample_unlike_the_rest(monkeypatch, guesses):
    """The sampled groups are the only large ones, or the only small ones: all groups are sorted then."""
    monkeypatch.setattr(candidates, "_GROUPS", 1024)
    sampled = torch.arange(1024 * 64) % 1024 % candidates._SAMPLE == 0
    for chosen in (sampled, ~sampled):
        check(torch.randn(1, 1024 * 64, 1, generator=torch.Generator().manual_seed(1)) + 9 * chosen[:, None], 60)
    assert False in guesses


@pytest.mark.parametrize("named", [None, torch.tensor([True, False, True, True, False, True, True])])
@pytest.mark.parametrize("count", [1, 9, 100, 3000])
@pytest.mark.parametrize("batch", [1, 3])
def test_folding_finds_the_largest(count, named, batch, monkeypatch):
    monkeypatch.setattr(candidates, "_GROUPS", 64)
    logits = torch.randn(batch, 1001, 7, generator=torch.Generator().manual_seed(0))
    allowed = logits if named is None else logits.masked_fill(~named, float("-inf"))
    values, place = largest(logits, count, named=named)
    torch.testing.assert_close(values, allowed.flatten(1).topk(count).values)
    torch.testing.assert_close(allowed.flatten(1).gather(1, place), values)
    assert all(row.unique().numel() == count for row in place)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_diverged_networks_logits_are_no_crash(batch, monkeypatch):
    monkeypatch.setattr(candidates, "_GROUPS", 64)
    logits = torch.randn(batch, 1001, 7, generator=torch.Generator().manual_seed(0))
    logits[:, 5] = float("nan")
    values, place = largest(logits, 9)
    assert values.shape == place.shape == (batch, 9) and values[:, :7].isnan().all()


def test_folding_with_fewer_than_asked_for(monkeypatch):
    monkeypatch.setattr(candidates, "_GROUPS", 16)
    logits = torch.randn(1, 50, 2, generator=torch.Generator().manual_seed(0))
    values, _ = largest(logits, 80, named=torch.tensor([True, False]))
    assert values.shape == (1, 80)
    assert values.isfinite().sum() == 50
    assert largest(logits, 500)[0].shape == (1, 100)


@pytest.mark.parametrize("batch", [1, 2])
def test_nothing_left_over_after_folding(batch, monkeypatch):
    monkeypatch.setattr(candidates, "_GROUPS", 64)  # 93 rows at most: 8 × 8, and 1920 × 7 = 64 × 210
    logits = torch.randn(batch, 1920, 7, generator=torch.Generator().manual_seed(0))
    check(logits, 9, torch.tensor([True, False, True, True, False, True, True]))


def test_one_nan_counts_as_largest(monkeypatch):
    monkeypatch.setattr(candidates, "_GROUPS", 64)
    logits = torch.randn(2, 1001, 7, generator=torch.Generator().manual_seed(0))
    logits[:, 500, 3] = float("nan")
    both, single = largest(logits, 9), largest(logits[:1], 9)
    assert both[1][0, 0] == single[1][0, 0] == 500 * 7 + 3
    assert torch.equal(both[1][:1], single[1])
