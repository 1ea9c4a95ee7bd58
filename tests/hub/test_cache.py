"""What the environment says about the cache."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from effdet import hub


def test_the_cache_folder_is_in_the_home_folder_or_where_it_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EFFDET_CACHE", raising=False)
    assert hub.cache_dir("weights") == Path.home() / ".cache" / "effdet-lightning" / "weights"
    monkeypatch.setenv("EFFDET_CACHE", "~/elsewhere")
    assert hub.cache_dir() == Path.home() / "elsewhere"


def test_a_half_written_file_is_not_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EFFDET_CACHE", str(tmp_path))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "x.pth.part").write_bytes(b"half")
    assert hub.cached("x.pth") is None
    (tmp_path / "weights" / "x.pth").write_bytes(b"whole")
    assert hub.cached("x.pth") == tmp_path / "weights" / "x.pth"


@pytest.mark.parametrize(("value", "offline"), [("", False), ("0", False), ("no", False), ("1", True), ("true", True)])
def test_offline(value: str, offline: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EFFDET_OFFLINE", value)
    assert hub.is_offline() is offline


def test_mirrors_lose_their_slashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EFFDET_MIRROR", "https://one/x/  https://two")
    assert hub.mirrors() == ("https://one/x", "https://two")


def test_hub_files_without_the_client_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delenv("EFFDET_OFFLINE", raising=False)
    file = hub.HubFile("owner/name")
    assert hub.cached_hub_file(file) is None
    with pytest.raises(ValueError, match=r"pip install 'effdet-lightning\[hub\]'"):
        hub.download_hub_file(file)
    monkeypatch.setenv("EFFDET_OFFLINE", "1")
    with pytest.raises(hub.DownloadError, match="owner/name/model.safetensors is not in the Hugging Face cache"):
        hub.download_hub_file(file)
