"""``effdet serve``: a model behind HTTP."""

from __future__ import annotations

import ipaddress
import socket
import sys
from pathlib import Path
from typing import Any

from effdet.cli.config import Config
from effdet.cli.models import open_predictor
from effdet.cli.overrides import Overrides
from heads.structures import UserError


def run(config: Config, overrides: Overrides) -> int:
    """Serve until Ctrl-C."""
    try:
        import uvicorn

        from effdet.serve import ServeSettings, create_app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith(("effdet", "heads", "backbones")):
            raise
        raise UserError(f"serve needs {error.name}: pip install 'effdet-lightning[serve]'") from None
    settings = ServeSettings(
        max_bytes=round(config.serve.max_megabytes * 1e6),
        max_pixels=round(config.serve.max_megapixels * 1e6),
        timeout=config.serve.timeout,
        queue=config.serve.queue,
        batch_size=config.batch_size,
        wait=config.serve.wait,
        score_threshold=config.score_threshold,
    )
    listener = _listener(config.host, config.port)  # before the model: a port that is taken is reported at once
    predict = open_predictor(config, score_threshold=min(config.serve.lowest_score, config.score_threshold))
    app = create_app(predict, settings=settings, about=_about(config, predict))
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", timeout_keep_alive=5, timeout_graceful_shutdown=10, access_log=False)
    )
    if not _is_loopback(config.host):
        print(
            f"warning: host={config.host}: every machine that reaches this one can use the server, which knows no "
            "authentication or TLS; put a reverse proxy before it (docs/serve.md)",
            file=sys.stderr,
        )
    host, port = listener.getsockname()[:2]
    print(
        f"http://{f'[{host}]' if ':' in host else host}:{port}  (page; /predict /health /metrics /docs); Ctrl-C ends it"
    )
    sys.stdout.flush()
    server.run(sockets=[listener])
    return 0


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)  # whoever comes before the server is ready waits
    except OSError as error:
        text = error.strerror or str(error)
        raise UserError(f"host={host} port={port}: cannot be listened on ({text}); port=0 takes a free one") from None
    return listener


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _about(config: Config, predict: Any) -> dict[str, Any]:
    classes = predict.model.classes
    return {
        "model": Path(config.model).name,  # where it lies is nobody's business
        "input": list(predict.preprocess.size),
        "heads": {head: [name for name in table.names if name is not None] for head, table in classes.items()},
    }
