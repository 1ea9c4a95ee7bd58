"""Any bytes at all get a documented status, and leave the server as it was."""

import base64
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from effdet.inference import Predictor
from effdet.serve import create_app
from effdet.serve.request import STATUSES
from tests.evaluation_fakes import FakeModel
from tests.serve.conftest import SETTINGS
from tests.serve.images import encoded

DOCUMENTED = {200, *STATUSES} - {500}
GOOD = [encoded(np.full((9, 12, 3), 200, np.uint8), form) for form in ("PNG", "JPEG", "GIF", "WEBP", "BMP")]
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def damaged(draw):
    """An image with some bytes changed, cut off or added."""
    data = bytearray(draw(st.sampled_from(GOOD)))
    for _ in range(draw(st.integers(0, 6))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))]) + draw(st.binary(max_size=20))


@pytest.fixture(scope="module")
def client():
    app = create_app(Predictor(FakeModel("detection")), settings=SETTINGS)
    with TestClient(app) as client:
        yield client
        assert client.get("/health").json() == {"status": "ok", "waiting": 0}


def checked(reply):
    assert reply.status_code in DOCUMENTED, (reply.status_code, reply.text)
    found = reply.json()
    assert "boxes" in found if reply.status_code == 200 else set(found) == {"error"}


@QUICK
@given(
    body=st.binary(max_size=300), kind=st.sampled_from(["application/json", "multipart/form-data; boundary=x", "a/b"])
)
def test_bodies(client, body, kind):
    checked(client.post("/predict", content=body, headers={"content-type": kind}))


@QUICK
@given(fields=st.dictionaries(st.sampled_from(["image", "score", "masks", "x"]), VALUES, max_size=4) | VALUES)
def test_json_values(client, fields):
    body = json.dumps(fields).encode()  # NaN and infinities too, which Python's JSON writes and reads
    checked(client.post("/predict", content=body, headers={"content-type": "application/json"}))


@QUICK
@given(data=damaged(), as_json=st.booleans())
def test_damaged_images(client, data, as_json):
    if as_json:
        checked(client.post("/predict", json={"image": base64.b64encode(data).decode()}))
    else:
        checked(client.post("/predict", files={"image": ("a", data)}))


@QUICK
@given(
    kind=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
    middle=st.binary(max_size=120),
    name=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12),
)
def test_forms(client, kind, middle, name):
    body = b'--x\r\nContent-Disposition: form-data; name="' + name.encode() + b'"; filename="a"\r\n' + middle
    for end in (b"", b"\r\n--x--\r\n"):
        checked(
            client.post(
                "/predict", content=body + end, headers={"content-type": f"multipart/form-data; boundary=x{kind}"}
            )
        )
