"""What ``weights=auto-cached`` and its siblings mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from effdet.hub import sha256_of
from effdet.model import spec_for
from effdet.weights import names, rows
from effdet.weights.names import random_warning, require_weights, resolve, suitable
from heads.structures import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EFFDET_CACHE", str(tmp_path))
    monkeypatch.setenv("EFFDET_OFFLINE", "1")  # whatever touched the network would fail
    monkeypatch.setattr("effdet.hub.cached_hub_file", lambda file: None)
    monkeypatch.setattr(rows, "_has_sum", lambda path, sha256: b"damaged" not in path.read_bytes())
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def put(cache: Path, name: str) -> Path:
    path = cache / names.get(name).file_name
    path.write_bytes(name.encode())
    return path


def test_the_model_goes_before_its_backbone_and_the_better_before_the_worse(cache: Path) -> None:
    spec = spec_for(task="detection", backbone="b0")
    assert resolve(spec, "auto-cached") is None
    backbone = put(cache, "tf_efficientnet_b0.in1k")
    found = resolve(spec, "auto-cached")
    assert found is not None and found.path == backbone and found.sha256 == sha256_of(backbone)
    better = put(cache, "tf_efficientnet_b0.ns_jft_in1k")
    assert resolve(spec, "auto-cached").path == better  # type: ignore[union-attr]
    detector = put(cache, "tf_efficientdet_d0")
    assert resolve(spec, "auto").path == detector  # type: ignore[union-attr]


def test_nothing_is_fetched_unless_the_user_said_so(cache: Path) -> None:
    spec = spec_for("tf_efficientdet_d0")
    assert resolve(spec, "auto-cached", cached_only=False) is None
    assert resolve(spec, "none") is None and resolve(spec, None) is None
    with pytest.raises(UserError, match="EFFDET_OFFLINE"):
        resolve(spec, "auto", cached_only=False)
    with pytest.raises(UserError, match="EFFDET_OFFLINE"):
        resolve(spec, "tf_efficientnet_b0")


def test_a_damaged_cached_file_is_an_error_and_not_a_download(cache: Path) -> None:
    put(cache, "tf_efficientdet_d0").write_bytes(b"damaged")
    with pytest.raises(UserError, match="is not tf_efficientdet_d0"):
        resolve(spec_for("tf_efficientdet_d0"), "auto-cached")


def test_paths_and_names(cache: Path, tmp_path: Path) -> None:
    spec = spec_for("tf_efficientdet_d0")
    (tmp_path / "mine.pth").write_bytes(b"x")
    found = resolve(spec, str(tmp_path / "mine.pth"))
    assert found is not None and found.row is None and found.path == tmp_path / "mine.pth"
    path = put(cache, "tf_efficientdet_d0_ap")
    named = resolve(spec, "tf_efficientdet_d0_ap")
    assert named is not None and named.path == path and named.row == names.get("tf_efficientdet_d0_ap")


def test_the_warning_names_what_would_help() -> None:
    spec = spec_for("tf_efficientdet_d0")
    assert suitable(spec)[0].name == "tf_efficientdet_d0"
    assert "RANDOM weights" in random_warning(spec)
    assert "weights=auto would fetch tf_efficientdet_d0" in random_warning(spec)
    assert "Nothing is published" in random_warning(spec_for(task="detection", phi=-2))


def test_a_decision_is_asked_for_where_weights_are_published_and_none_is_here(cache: Path) -> None:
    spec = spec_for(task="detection", backbone="b0", num_classes=3)
    with pytest.raises(UserError) as caught:
        require_weights(spec)
    assert str(caught.value).splitlines() == [
        "none of the published weights for tf_efficientdet_d0 is on this machine; say what to start from:",
        "  weights=auto   downloads tf_efficientdet_d0 (about 16 MB)",  # 3.9 million numbers (EfficientDet, table 2)
        "  weights=PATH   takes a file",
        "  weights=none   random weights, which need many times the epochs and end lower",
    ]
    put(cache, "tf_efficientnet_b0.in1k")
    require_weights(spec)
    require_weights(spec_for(task="detection", phi=-2))  # nothing is published for it
