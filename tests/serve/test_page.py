"""The page in a real browser: an image and a video are shown with their boxes, the threshold works, results download."""

import json
import time
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from tests.evaluation_fakes import FakeSet
from tests.serve import chromium
from tests.serve.running import server

PROGRAM = chromium.find()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason=f"no browser: none of {', '.join(chromium.NAMES)} is installed"),
]


@pytest.fixture(scope="module")
def url():
    with server() as address:
        yield address


@pytest.fixture
def page(url, tmp_path):
    with chromium.Page(PROGRAM, tmp_path / "profile") as page:
        page.open(url)
        page.downloads(tmp_path)
        yield page
        bad = [message for message in page.messages if message["method"] == "Runtime.exceptionThrown"]
        assert not bad


def large(index):
    return FakeSet(12).image(index).repeat(8, 0).repeat(8, 1)


def arrived(path, patience=60):
    deadline = time.monotonic() + patience
    while not path.exists() or path.stat().st_size == 0 or list(path.parent.glob("*.crdownload")):
        assert time.monotonic() < deadline, (
            f"{path.name} never came; there are {[p.name for p in path.parent.iterdir()]}"
        )
        time.sleep(0.1)
    return path


def test_an_image(page, tmp_path):
    Image.fromarray(large(2)).save(tmp_path / "street.png")
    page.choose("#file", tmp_path / "street.png")
    page.until("!document.getElementById('save').disabled")
    assert page.evaluate("[view.width, view.height]") == [480, 320]
    assert "1 of 1 boxes" in page.evaluate("document.getElementById('state').textContent")
    assert "car" in page.evaluate("document.getElementById('list').textContent")
    shown = page.evaluate("document.getElementById('cover').classList.contains('hidden')")
    assert shown is False  # the stand-in has a segmentation map, so its slider is there
    move = "const s = document.getElementById('{0}'); s.value = {1}; s.dispatchEvent(new Event('input'));"
    page.evaluate("{" + move.format("score", 0.95) + "}")
    assert "0 of 1 boxes" in page.evaluate("document.getElementById('state').textContent")
    clear = page.evaluate("view.toDataURL()")
    page.evaluate("{" + move.format("score", 0.3) + "}")
    assert page.evaluate("view.toDataURL()") != clear

    page.evaluate("document.getElementById('save').click()")
    drawn = np.asarray(Image.open(arrived(tmp_path / "street-boxes.png")).convert("RGB"))
    assert drawn.shape == (320, 480, 3) and (drawn != large(2)).any()
    page.evaluate("document.getElementById('json').click()")
    found = json.loads(arrived(tmp_path / "street.json").read_text())
    assert found["boxes"][0]["box"] == pytest.approx([64, 80, 144, 160], abs=6)


def test_a_file_that_is_no_image(page, tmp_path):
    (tmp_path / "notes.png").write_text("hello")
    page.choose("#file", tmp_path / "notes.png")
    page.until("document.getElementById('state').className === 'bad'")
    assert "no image" in page.evaluate("document.getElementById('state').textContent")


def test_a_video(page, tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "drive.webm"), "w") as container:
        stream = container.add_stream("libvpx", rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = 480, 320, "yuv420p"
        for index in range(8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(large(index), format="rgb24")))
        container.mux(stream.encode(None))
    page.choose("#file", tmp_path / "drive.webm")
    page.until("!document.getElementById('save').disabled", 120)
    count = page.evaluate("frames.length")
    assert count >= 6 and page.evaluate("frames.every(frame => frame.found.boxes.length === 1)")
    lefts = page.evaluate("frames.map(frame => frame.found.boxes[0].box[0])")
    assert lefts == sorted(lefts) and lefts[-1] - lefts[0] > 100  # the square moves to the right
    page.evaluate("document.getElementById('json').click()")
    assert len(json.loads(arrived(tmp_path / "drive.json").read_text())) == count
    page.evaluate("document.getElementById('save').click()")
    with av.open(str(arrived(tmp_path / "drive-boxes.webm"))) as container:
        assert next(container.decode(video=0)).width == 480


def test_the_interface_page(page, url):
    page.open(f"{url}/docs")
    page.until("document.querySelectorAll('h2').length >= 3")
    text = page.evaluate("document.body.innerText")
    assert "POST /predict" in text and "415" in text and "curl" in text
