"""The application's responses and errors."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from effdet.inference import Predictor
from effdet.serve import ServeSettings, create_app
from effdet.serve.request import STATUSES
from heads.structures import UserError
from tests.evaluation_fakes import FakeModel, FakeSet
from tests.serve.conftest import SETTINGS
from tests.serve.images import encoded, png_header


def send(client, data, **fields):
    return client.post("/predict", files={"image": ("a", data)}, data=fields)


def test_a_form(client, image):
    reply = send(client, image)
    found = reply.json()
    assert reply.status_code == 200 and (found["width"], found["height"]) == (60, 40)
    (box,) = found["boxes"]
    assert box["name"] == "car" and box["box"] == pytest.approx([8, 10, 18, 20], abs=1)
    assert box["score"] == pytest.approx(0.9) and box["colour"].startswith("#") and len(box["colour"]) == 7
    assert found["classes"][0]["name"] == "car" and "path" not in found


def test_json_is_the_same(client, image):
    text = base64.b64encode(image).decode()
    for value in (text, f"data:image/png;base64,{text}", text[:30] + "\n" + text[30:]):
        reply = client.post("/predict", json={"image": value})
        assert reply.status_code == 200 and reply.json()["boxes"] == send(client, image).json()["boxes"]


def test_the_segmentation_map_is_an_image_of_classes(client, image):
    found = send(client, image).json()["semantic"]
    data = base64.b64decode(found["map"].partition(",")[2])
    values = np.asarray(Image.open(io.BytesIO(data)))
    expected = (FakeSet(3).image(2)[..., 0] > 0).astype(np.uint8)
    assert values.shape == (40, 60) and (values == expected).mean() > 0.97
    assert sum(entry["share"] for entry in found["classes"]) == pytest.approx(1)
    assert "map" not in send(client, image, masks="false").json()["semantic"]


def test_the_threshold(client, image):
    assert len(send(client, image, score="0.95").json()["boxes"]) == 0
    assert len(send(client, image, score="0.89").json()["boxes"]) == 1
    text = base64.b64encode(image).decode()
    assert client.post("/predict", json={"image": text, "score": 0.95}).json()["boxes"] == []


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "BMP", "GIF"])
def test_formats(client, form):
    assert send(client, encoded(FakeSet(3).image(2), form)).status_code == 200


def test_grey_alpha_and_rotated_images(client):
    pixels = FakeSet(3).image(2)
    assert len(send(client, encoded(pixels[..., 0])).json()["boxes"]) == 1
    assert send(client, encoded(np.dstack([pixels, pixels[..., :1]]))).status_code == 200
    exif = Image.Exif()
    exif[0x0112] = 6
    assert send(client, encoded(pixels, "JPEG", exif=exif)).json()["width"] == 40


JPEG = encoded(np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8), "JPEG")
BAD = {
    "empty file": (400, b""),
    "text": (415, b"hello, this is no image"),
    "truncated": (422, JPEG[: len(JPEG) // 2]),
    "filled up with zeros": (422, JPEG[: len(JPEG) // 2] + bytes(len(JPEG) // 2)),
    "30,000 x 30,000": (413, png_header(30_000, 30_000)),
    "just too large": (413, png_header(1001, 1000)),
    "too many bytes": (413, b"x" * 200_001),
    "format": (415, encoded(np.zeros((4, 4, 3), np.uint8), "TIFF")),
    "a lying header": (422, png_header(300, 300)),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_images(client, name):
    status, data = BAD[name]
    for reply in (send(client, data), client.post("/predict", json={"image": base64.b64encode(data).decode()})):
        assert reply.status_code == status, reply.text
        assert set(reply.json()) == {"error"} and "\n" not in reply.json()["error"]
    assert client.get("/health").json()["waiting"] == 0


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (415, {"content": b"x"}),
        (415, {"content": b"x", "headers": {"content-type": "image/png"}}),
        (415, {"data": {"image": "x"}}),
        (400, {"content": b"", "headers": {"content-type": "application/json"}}),
        (400, {"content": b"{", "headers": {"content-type": "application/json"}}),
        (400, {"content": b"\xff\xfe\xfa", "headers": {"content-type": "application/json"}}),
        (400, {"content": b"[" * 5000, "headers": {"content-type": "application/json"}}),
        (400, {"content": b"x", "headers": {"content-type": "multipart/form-data"}}),
        (400, {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}}),
        (422, {"json": []}),
        (422, {"json": {}}),
        (422, {"json": {"image": 3}}),
        (422, {"json": {"image": "%%%"}}),
        (422, {"json": {"image": "ü"}}),
        (422, {"files": {"photo": ("a", b"x")}}),
        (422, {"files": {"image": (None, "text")}}),
        (422, {"files": [("image", ("a", b"x")), ("colour", (None, "y"))]}),
        (400, {"files": [("image", ("a", b"x")), ("image", ("b", b"y"))]}),
        (422, {"json": {"image": "eA==", "score": 2}}),
        (422, {"json": {"image": "eA==", "score": "much"}}),
        (422, {"json": {"image": "eA==", "score": True}}),
        (422, {"json": {"image": "eA==", "masks": 3}}),
    ],
)
def test_bad_requests(client, status, request_):
    reply = client.post("/predict", **request_)
    assert reply.status_code == status, reply.text
    assert set(reply.json()) == {"error"}


def test_other_routes(client):
    assert client.get("/predict").status_code == 405
    assert client.get("/nothing").status_code == 404
    state = client.get("/health").json()
    assert state == {"status": "ok", "waiting": 0, "model": "fake"}


def test_metrics_count(client, image):
    assert [send(client, data).status_code for data in (image, b"text")] == [200, 415]
    text = client.get("/metrics").text
    assert 'effdet_requests_total{status="200"} 1.0' in text and 'effdet_requests_total{status="415"} 1.0' in text
    assert "effdet_batch_images_count 1.0" in text and "effdet_requests_in_work 0.0" in text


def test_the_interface_names_every_status(client):
    api = client.get("/openapi.json").json()["paths"]
    assert set(api) == {"/predict", "/health", "/metrics"}
    assert set(api["/predict"]["post"]["responses"]) == {"200", *map(str, STATUSES)}
    assert set(api["/predict"]["post"]["requestBody"]["content"]) == {"multipart/form-data", "application/json"}


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_load_nothing_from_elsewhere(client, path):
    reply = client.get(path)
    assert reply.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in reply.headers["content-security-policy"]
    text = reply.text.replace("http://www.w3.org/", "")
    assert "http://" not in text and "https://" not in text and "@import" not in text


def test_a_fault_of_the_model_is_a_500_and_the_server_lives(image):
    def fails(images):
        if any(image.max() == 0 for image in images):
            raise ZeroDivisionError("secret")
        return Predictor(FakeModel("detection"))(images)

    with TestClient(create_app(fails, settings=SETTINGS)) as client:
        reply = send(client, encoded(np.zeros((8, 8, 3), np.uint8)))
        assert reply.status_code == 500 and "secret" not in reply.text and "ZeroDivisionError" in reply.text
        assert send(client, image).status_code == 200


def test_too_slow_is_a_504():
    import time

    with TestClient(create_app(lambda images: time.sleep(0.5), settings=ServeSettings(timeout=0.1))) as client:
        assert send(client, encoded(np.zeros((8, 8, 3), np.uint8))).status_code == 504
        assert client.get("/health").json()["waiting"] == 0


def test_settings_are_checked():
    for wrong in ({"queue": 0}, {"timeout": 0}, {"score_threshold": 2}, {"max_bytes": 0}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            ServeSettings(**wrong)


def test_json_holds_no_nan(client, image):
    json.loads(send(client, image).text, parse_constant=lambda name: pytest.fail(name))
