"""A server's application round a stand-in detector, and images to send."""

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("multipart")

from starlette.testclient import TestClient

from effdet.inference import Predictor
from effdet.serve import ServeSettings, create_app
from tests.evaluation_fakes import FakeModel, FakeSet
from tests.serve.images import encoded

SETTINGS = ServeSettings(max_bytes=200_000, max_pixels=1_000_000, timeout=5, queue=8, batch_size=4)


@pytest.fixture(scope="session")
def image() -> bytes:
    return encoded(FakeSet(3).image(2))


@pytest.fixture
def client():
    app = create_app(Predictor(FakeModel()), settings=SETTINGS, about={"model": "fake"})
    with TestClient(app) as client:
        yield client
