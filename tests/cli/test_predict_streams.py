"""``effdet predict`` on streams that break off and come back, from servers on the loopback."""

import os
import signal
import socket
import struct
import threading
import time

import numpy as np
import pytest

from effdet.inference.sources import video as video_source
from effdet.inference.writers import journal
from tests.cli.test_predict_video import Written, model, predict
from tests.inference.clips import clip

__all__ = ["model"]

pytest.importorskip("av")


class Server:
    """Sends one of `contents` to each connection in turn, then closes; behind the last there is no server.

    Args:
        contents: bytes for each connection.
        end: how a connection ends: closed, reset, or silent for ever.
    """

    def __init__(self, *contents, end="close"):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._contents, self._end, self._open = contents, end, []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        for number, content in enumerate(self._contents, start=1):
            connection, _ = self._socket.accept()
            if number == len(self._contents):
                self._socket.close()
            connection.sendall(content)
            if self._end == "reset":
                time.sleep(0.2)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if self._end == "silent":
                self._open.append(connection)
            else:
                connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._socket.close()
        for connection in self._open:
            connection.close()


@pytest.fixture
def recording(tmp_path):
    """A second of a transport stream."""
    return clip(tmp_path / "in" / "a.ts", 25, codec="mpeg2video", options={"g": "5"}).read_bytes()


def address(server):
    return f"source=tcp://127.0.0.1:{server.port}"


@pytest.mark.parametrize("end", ["close", "reset", "silent"])
def test_a_stream_that_breaks_off(model, tmp_path, monkeypatch, capsys, recording, end):
    monkeypatch.setattr(video_source, "_TIMEOUT", 1.0)
    with Server(recording[: 188 * (len(recording) * 3 // 4 // 188)], end=end) as server:
        assert predict(model, address(server), f"out={tmp_path}/out", "predict.track=true") == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert f"source=tcp://127.0.0.1:{server.port}: the stream " in line and " after frame " in line
    written = Written(tmp_path / "out")
    assert 10 < len(written.frames) < 25 and len(written.drawn(f"127.0.0.1-{server.port}.mp4")) == len(written.frames)
    assert (tmp_path / "out" / f"127.0.0.1-{server.port}.txt").is_file()


def test_a_stream_that_comes_back(model, tmp_path, capsys, recording):
    with Server(recording, recording) as server:
        started = time.monotonic()
        more = ["predict.reconnect=1", "predict.track=true"]
        assert predict(model, address(server), f"out={tmp_path}/out", *more) == 1
        assert time.monotonic() - started < 60
    said = capsys.readouterr().err
    assert said.count("trying again for 1 s") == 2 and said.count("is there again after") == 1
    written = Written(tmp_path / "out")
    assert written.frames == list(range(50))
    steps = np.diff(written.times)
    assert (
        steps[:24] == pytest.approx(0.04, abs=2e-6)
        and steps[25:] == pytest.approx(0.04, abs=2e-6)
        and 0.04 <= steps[24] < 30
    )
    (video,) = (tmp_path / "out").glob("*.mp4")
    assert [at for at, _ in written.drawn(video.name)] == pytest.approx(written.times, abs=2e-3)


def test_a_max_images_ends_a_stream_in_order(model, tmp_path, recording):
    with Server(recording, recording) as server:
        assert predict(model, address(server), f"out={tmp_path}/out", "predict.reconnect=5", "max_images=30") == 0
    assert Written(tmp_path / "out").frames == list(range(30))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_ctrl_c_is_how_a_stream_is_ended(model, tmp_path, monkeypatch, recording, number, code):
    add = journal.Journal.add

    def stopped(self, entry):
        if entry.frame == 7:
            os.kill(os.getpid(), number)
        return add(self, entry)

    monkeypatch.setattr(journal.Journal, "add", stopped)
    with Server(recording) as server:
        assert predict(model, address(server), f"out={tmp_path}/out") == code
    written = Written(tmp_path / "out")
    assert written.frames == list(range(8)) and len(written.drawn(f"127.0.0.1-{server.port}.mp4")) == 8


def test_a_server_that_only_accepts_is_given_up(model, tmp_path, capsys, recording):
    with Server(recording, *[b""] * 200) as server:
        assert predict(model, address(server), f"out={tmp_path}/out", "predict.reconnect=0.5") == 1
    assert Written(tmp_path / "out").frames == list(range(25))
    assert capsys.readouterr().err.count("is there again") == 0


def test_a_camera_that_sends_single_images(model, tmp_path, capsys):
    """Motion JPEG over HTTP, as cheap cameras have it."""
    import io

    from PIL import Image

    parts = [b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"]
    for level in range(0, 200, 20):
        jpeg = io.BytesIO()
        Image.new("RGB", (64, 48), (level, 80, 90)).save(jpeg, "JPEG")
        body = jpeg.getvalue()
        parts.append(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(body), body))
    with Server(b"".join(parts)) as server:
        source = f"source=http://127.0.0.1:{server.port}/video.cgi?user=admin&password=s3cret"
        assert predict(model, source, f"out={tmp_path}/out") == 1
    assert "s3cret" not in capsys.readouterr().err
    written = Written(tmp_path / "out")
    assert len(written.frames) == 10 and all(np.diff(written.times) > 0) and len(written.drawn("video.mp4")) == 10


def test_a_download_that_breaks_off(model, tmp_path, capsys):
    content = clip(tmp_path / "a.mp4", 50, form={"movflags": "faststart"}).read_bytes()
    head = b"HTTP/1.0 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: %d\r\n\r\n" % len(content)
    with Server(*[head + content[: len(content) * 6 // 10]] * 20) as server:
        assert predict(model, f"source=http://127.0.0.1:{server.port}/a.mp4", f"out={tmp_path}/out") == 1
    assert 10 < len(Written(tmp_path / "out").frames) < 50
    with Server(head + content) as server:
        assert predict(model, f"source=http://127.0.0.1:{server.port}/a.mp4", f"out={tmp_path}/whole") == 0
    assert len(Written(tmp_path / "whole").frames) == 50


def test_reconnect_is_for_streams(model, tmp_path, capsys):
    path = clip(tmp_path / "a.mp4", 2)
    assert predict(model, f"source={path}", f"out={tmp_path}/out", "predict.reconnect=5") == 2
    assert "predict.reconnect: is for cameras and streams" in capsys.readouterr().err
