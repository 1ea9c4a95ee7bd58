"""A server's application round a stand-in detector, and pictures to send."""

import io

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("multipart")

from starlette.testclient import TestClient

from effdet.inference import Predictor
from effdet.serve import ServeSettings, create_app
from tests.evaluation_fakes import FakeModel, FakeSet

SETTINGS = ServeSettings(max_bytes=200_000, max_pixels=1_000_000, timeout=5, queue=8, batch_size=4)


def encoded(pixels: np.ndarray, form: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is this large, and holds next to nothing."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


@pytest.fixture(scope="session")
def picture() -> bytes:
    return encoded(FakeSet(3).picture(2))


@pytest.fixture
def client():
    app = create_app(Predictor(FakeModel()), settings=SETTINGS, about={"model": "fake"})
    with TestClient(app) as client:
        yield client
