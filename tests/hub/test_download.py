"""Downloads against a server on loopback: whole or not at all, resumed, checked, from mirrors, offline."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from effdet.hub import DownloadError, _BrokenOff, _stream, below, cache_dir, cached, download, sha256_of
from heads.structures import UserError
from tests.hub.server import Site, serving

BODY = bytes(range(256)) * 4096  # 1 MiB: more than one chunk
SUM = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("EFFDET_CACHE", str(tmp_path / "cache"))
    for name in ("EFFDET_MIRROR", "EFFDET_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(Site({"a.bin": BODY})) as running:
        yield running


def fetch(site: Site, **options) -> Path:
    return download(f"{site.base}/a.bin", **{"progress": False, "backoff": 0.0, "timeout": 5.0, **options})


def leftovers() -> list[str]:
    return sorted(path.name for path in cache_dir("weights").iterdir() if not path.name.endswith(".lock"))


def test_a_file_arrives_whole_and_is_not_asked_for_again(site: Site) -> None:
    path = fetch(site, sha256=SUM[:8])
    assert path == cache_dir("weights", "a.bin") == cached("a.bin")
    assert path.read_bytes() == BODY and leftovers() == ["a.bin"]
    assert fetch(site, sha256=SUM) == path
    assert len(site.asked) == 1


def test_a_transfer_that_breaks_off_is_resumed_where_it_broke(site: Site) -> None:
    site.cut = 300_000
    path = fetch(site, sha256=SUM)
    assert sha256_of(path) == SUM
    spans = [span for _, span in site.asked]
    assert spans == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]


def test_a_later_call_resumes_what_an_earlier_one_left(site: Site) -> None:
    site.cut = 0
    site.files["a.bin"] = BODY
    part = cache_dir("weights", "a.bin.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(BODY[:1000])
    with pytest.raises(DownloadError, match="broke off after 1000 of 1048576 bytes"):
        fetch(site, sha256=SUM, retries=0)
    assert cached("a.bin") is None and part.read_bytes() == BODY[:1000]
    site.cut = None
    assert fetch(site, sha256=SUM).read_bytes() == BODY
    assert site.asked[-1][1] == "bytes=1000-"


def test_without_a_checksum_a_part_is_resumed_only_if_the_server_still_has_that_version(site: Site) -> None:
    part = cache_dir("weights", "a.bin.part")
    part.parent.mkdir(parents=True)
    site.cut = 400_000
    with pytest.raises(_BrokenOff):  # a process that dies here leaves the part and the note of its version
        _stream(f"{site.base}/a.bin", part, trusted=False, timeout=5.0, advance=lambda done, total: None)
    site.cut, site.tag, site.files["a.bin"] = None, '"two"', BODY[::-1]
    assert fetch(site).read_bytes() == BODY[::-1]  # not the old head with the new tail
    assert site.asked[-1][1] == "bytes=400000-"


def test_a_server_that_ignores_ranges_is_read_from_the_start(site: Site) -> None:
    part = cache_dir("weights", "a.bin.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(BODY[:1000])
    site.ranges = False
    assert fetch(site, sha256=SUM).read_bytes() == BODY


def test_a_part_longer_than_the_file_is_thrown_away(site: Site) -> None:
    part = cache_dir("weights", "a.bin.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(BODY + b"more")
    assert fetch(site, sha256=SUM).read_bytes() == BODY


def test_a_wrong_checksum_is_refused_and_nothing_stays(site: Site) -> None:
    with pytest.raises(DownloadError, match=rf"sha256 begins with {SUM[:8]}, expected 0123abcd"):
        fetch(site, sha256="0123abcd")
    assert cached("a.bin") is None and leftovers() == []


def test_a_damaged_cached_file_is_fetched_anew(site: Site) -> None:
    path = cache_dir("weights", "a.bin")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    assert fetch(site, sha256=SUM).read_bytes() == BODY


def test_the_next_address_is_tried_and_all_failures_are_named(site: Site) -> None:
    bad = f"{site.base}/missing.bin"
    path = download([bad, f"{site.base}/a.bin"], file_name="a.bin", progress=False, backoff=0.0)
    assert path.read_bytes() == BODY
    with pytest.raises(DownloadError, match=r"missing\.bin: the server answered 404 .*ftp://x/y: not an http"):
        download([bad, "ftp://x/y"], file_name="b.bin", progress=False, backoff=0.0)


def test_a_server_error_is_tried_again(site: Site) -> None:
    site.status = 503
    with pytest.raises(DownloadError, match="answered 503"):
        fetch(site, retries=2)
    assert len(site.asked) == 3


def test_mirrors_come_first(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EFFDET_MIRROR", f"{site.base}/none/ {site.base}")
    path = download("http://127.0.0.1:9/owner/a.bin", sha256=SUM, progress=False, backoff=0.0)
    assert path.read_bytes() == BODY
    assert [name for name, _ in site.asked] == ["/none/a.bin", "/a.bin"]


def test_a_user_and_a_password_in_the_address(site: Site) -> None:
    site.user = "me:s3/cr@t"
    host = site.base.partition("://")[2]
    path = download(f"http://me:s3%2Fcr%40t@{host}/a.bin", progress=False, backoff=0.0)
    assert path.read_bytes() == BODY
    with pytest.raises(DownloadError, match="the server answered 401") as caught:
        download(f"http://me:s3cret@{host}/a.bin", file_name="b.bin", progress=False, backoff=0.0)
    assert "s3cret" not in str(caught.value) and f"http://{host}/a.bin" in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "http://me:s3cret@127.0.0.1:9/a.bin?token=s3cret",
        "http://me:s3cret/x@127.0.0.1:9/a.bin",
        "http://me:s3cret#x@127.0.0.1:9/a.bin",
        "s3://me:s3cret@bucket/a.bin",
        "http://127.0.0.1:port/a.bin?X-Amz-Signature=s3cret",
    ],
)
def test_no_error_shows_what_is_secret(site: Site, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DownloadError) as caught:
        download(address, file_name="a.bin", progress=False, backoff=0.0, retries=0)
    assert "s3cret" not in str(caught.value) and "me" not in str(caught.value).replace("name", "").split()
    monkeypatch.setenv("EFFDET_MIRROR", "http://me:s3cret@127.0.0.1:9")
    with pytest.raises(DownloadError) as caught:
        download(f"{site.base}/none", file_name="a.bin", progress=False, backoff=0.0, retries=0)
    assert "s3cret" not in str(caught.value)
    assert all(b"s3cret" not in path.read_bytes() for path in cache_dir().rglob("*") if path.is_file())


def test_a_signature_stays_behind_the_name(site: Site) -> None:
    assert below("https://h/set/?sig=x", "a.tar") == "https://h/set/a.tar?sig=x"
    assert below("https://h/set", "a.tar") == "https://h/set/a.tar"
    site.files["set/a.tar?sig=s3cret"] = BODY
    assert download(below(f"{site.base}/set?sig=s3cret", "a.tar"), progress=False).name == "a.tar"


def test_offline_reads_the_cache_and_nothing_else(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EFFDET_OFFLINE", "1")
    with pytest.raises(DownloadError, match="EFFDET_OFFLINE is set"):
        fetch(site)
    assert site.asked == []
    monkeypatch.setenv("EFFDET_OFFLINE", "0")
    path = fetch(site)
    monkeypatch.setenv("EFFDET_OFFLINE", "1")
    assert fetch(site) == path


def test_two_at_once_fetch_once(site: Site) -> None:
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(fetch(site, sha256=SUM).read_bytes())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [BODY] * 3 and len(site.asked) == 1


def test_a_local_mirror_may_be_a_file_address(site: Site, tmp_path: Path) -> None:
    (tmp_path / "b.bin").write_bytes(BODY)
    assert download((tmp_path / "b.bin").as_uri(), progress=False).read_bytes() == BODY


def test_the_progress_bar_goes_to_stderr(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    fetch(site, progress=True)
    captured = capsys.readouterr()
    assert captured.out == "" and "a.bin" in captured.err


@pytest.mark.parametrize("options", [{"file_name": "../a.bin"}, {"sha256": "short"}, {"sha256": "not hex!!"}])
def test_bad_arguments(site: Site, options: dict[str, str]) -> None:
    with pytest.raises(UserError):
        fetch(site, **options)
    assert site.asked == []
