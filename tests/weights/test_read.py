"""Reading: nesting, averages, prefixes; and a clear word for every kind of bad file."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from effdet.weights.read import WeightsError, read_weights

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2)}


class Code:
    """A pickle of this runs a command when it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (os.mkdir, (str(self.target),))


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"state_dict": STATE},
        {"model": STATE, "epoch": 3},
        {"state_dict": {f"module.{key}": value for key, value in STATE.items()}},
        {"state_dict": {f"model.{key}": value for key, value in STATE.items()}},
        {"model": {"state_dict": STATE}},
    ],
)
def test_the_state_dict_is_found_wherever_it_is_nested(content: dict, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pth")
    file = read_weights(tmp_path / "a.pth")
    assert set(file.tensors) == set(STATE) and file.kind == "torch"
    assert torch.equal(file.tensors["a.weight"], STATE["a.weight"])


def test_the_average_is_read_unless_the_raw_weights_are_wanted(tmp_path: Path) -> None:
    average = {key: value + 1 for key, value in STATE.items()}
    torch.save({"state_dict": STATE, "state_dict_ema": average}, tmp_path / "a.pth.tar")
    file = read_weights(tmp_path / "a.pth.tar")
    assert float(file.tensors["a.bias"][0]) == 1 and "averaged" in file.notes[0]
    assert float(read_weights(tmp_path / "a.pth.tar", raw=True).tensors["a.bias"][0]) == 0
    own = {"state_dict": average, "raw_state_dict": STATE, "spec": json.dumps({"format": 1})}
    torch.save(own, tmp_path / "a.ckpt")
    assert float(read_weights(tmp_path / "a.ckpt").tensors["a.bias"][0]) == 1
    raw = read_weights(tmp_path / "a.ckpt", raw=True)
    assert float(raw.tensors["a.bias"][0]) == 0 and raw.metadata == {"spec": {"format": 1}}


def test_safetensors_with_timms_config_beside_it(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "model.safetensors")
    assert read_weights(tmp_path / "model.safetensors").metadata == {}
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "tf_efficientnet_b0"}))
    file = read_weights(tmp_path / "model.safetensors")
    assert file.kind == "safetensors" and file.metadata["architecture"] == "tf_efficientnet_b0"


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    path, target = tmp_path / "a.pth", tmp_path / "made"
    torch.save({"state_dict": STATE, "extra": Code(target)}, path)
    with pytest.raises(WeightsError, match="holds a pickle with code.* trust=true") as caught:
        read_weights(path)
    assert not target.exists() and "\n" not in str(caught.value)
    assert set(read_weights(path, trust=True).tensors) == set(STATE)
    assert target.is_dir()


def test_an_old_plain_pickle_with_code_is_refused(tmp_path: Path) -> None:
    path, target = tmp_path / "a.pkl", tmp_path / "made"
    path.write_bytes(pickle.dumps({"extra": Code(target)}))
    with pytest.raises(WeightsError, match="holds a pickle with code"):
        read_weights(path)
    assert not target.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.9])
def test_a_truncated_file(suffix: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    state = {"a": torch.randn(64, 64), "b": torch.randn(64)}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(WeightsError, match="truncated"):
        read_weights(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite(value: float, tmp_path: Path) -> None:
    broken = {"a.weight": torch.tensor([1.0, value, value]), "a.bias": torch.zeros(1)}
    torch.save(broken, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"a\.pth: 2 of 3 numbers in 'a\.weight' are NaN or infinite"):
        read_weights(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("content", "text"), [([1, 2], "holds a list, not a state dict"), ({"epoch": 1}, "holds no tensors")]
)
def test_files_without_weights(content: object, text: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=text):
        read_weights(tmp_path / "a.pth")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        read_weights(tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="is a folder"):
        read_weights(tmp_path)
    (tmp_path / "a.txt").write_text("no weights in here, only words")
    with pytest.raises(WeightsError, match="truncated or no PyTorch file"):
        read_weights(tmp_path / "a.txt")
