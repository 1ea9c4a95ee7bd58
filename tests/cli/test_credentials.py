"""No credential of an address is printed or written: a training on shards behind a password, whose files are all searched."""

import base64
import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from effdet.cli.app import main
from effdet.cli.config import Config

URL = "https://me:s3cret@host/set?sig=s3cret"


def test_a_saved_configuration_has_the_plain_address_and_takes_the_overrides_credentials():
    config = Config({"data": {"name": "shards", "url": URL}, "seed": 1})
    saved = Config.from_yaml(config.to_yaml())
    assert saved.get("data.url") == "https://host/set" and saved.has_addresses
    assert saved.restored(config).get("data.url") == URL
    other = Config({"data": {"name": "shards", "url": "https://me:s3cret@elsewhere/set"}, "seed": 2})
    assert saved.restored(other).to_dict() == saved.to_dict()


def test_nothing_secret_is_printed(capsys):
    assert main(["train", "data=shards", f"data.url={URL}", "--print"]) == 0
    assert main(["train", "data=shards", f"data.url={URL}", f"data.root={URL}", f"data.ur={URL}"]) == 2
    assert main(["evaluate", f"model={URL}", "data=shards", f"data.url={URL}"]) == 2
    assert main(["predict", f"model={URL}", f"source={URL}", f"resume={URL}"]) == 2
    printed = capsys.readouterr()
    assert "s3cret" not in printed.out + printed.err and "url: https://host/set\n" in printed.out


class _Locked(SimpleHTTPRequestHandler):
    def do_GET(self):
        self.path = self.path.partition("?")[0]
        if self.headers.get("Authorization") != f"Basic {base64.b64encode(b'me:s3cret').decode()}":
            self.send_error(401)
        else:
            super().do_GET()

    def log_message(self, *args):
        pass


@pytest.mark.slow
def test_a_run_on_shards_behind_a_password(small_coco, tmp_path, monkeypatch, capfd):
    """Trained, resumed and evaluated; then every file of the run and of the cache is searched."""
    monkeypatch.setenv("EFFDET_CACHE", str(tmp_path / "cache"))
    for split in ("train", "val"):
        overrides = ["data=coco", f"data.root={small_coco}", f"split={split}", f"out={tmp_path}/served/set"]
        assert main(["shards", *overrides]) == 0
    handler = functools.partial(_Locked, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_address[1]}"
        data = ["data=shards", f"data.url=http://me:s3cret@{host}/set?sig=s3cret"]
        run = tmp_path / "run"
        overrides = [f"run_dir={run}", "task=detection", "phi=-4", "image_size=64", "weights=none", "batch_size=2", "workers=0",
                 "device=cpu", "preflight=false", "trainer.max_epochs=1"]  # fmt: skip
        assert main(["train", *data, *overrides]) == 0
        assert main(["train", *data, *[*overrides[:-1], "trainer.max_epochs=2"], "resume=auto"]) == 0
        assert main(["evaluate", f"model={run}", *data, "split=val", "workers=0", "device=cpu"]) == 0
        assert (
            main(["evaluate", f"model={run}", "split=val", "workers=0", "device=cpu", "max_images=1"]) == 2
        )  # no password
        server.shutdown()
    printed = capfd.readouterr()
    assert "the server answered 401" in printed.err and f"http://{host}/set" in printed.err
    assert "s3cret" not in printed.out + printed.err
    files = [path for directory in (run, tmp_path / "cache") for path in directory.rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        assert "s3cret" not in str(path) and b"s3cret" not in path.read_bytes(), path
