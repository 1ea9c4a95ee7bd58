"""Just enough of the DevTools protocol to drive a headless Chromium over a pipe: no driver, no library."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")


def find() -> str | None:
    """The browser's program."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One page of a browser; use it in a ``with``.

    Args:
        program: the browser.
        profile: an empty folder for its files.
    """

    def __init__(self, program: str, profile: Path, *, width: int = 1280, height: int = 800) -> None:
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        # The browser reads commands from descriptor 3 and writes answers to 4.
        script = f'exec 3<&{to_read} 4>&{to_write}; exec "$0" "$@"'
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--disable-dev-shm-usage"]
        flags += [f"--user-data-dir={profile}", f"--window-size={width},{height}", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", script, program, *flags],
            pass_fds=(to_read, to_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for end in (to_read, to_write):
            os.close(end)
        self._numbers, self._rest = itertools.count(1), b""
        self.messages: list[dict[str, Any]] = []
        """Events, such as the console's lines and errors."""
        self._session: str | None = None
        pages = self._send("Target.getTargets")["targetInfos"]
        target = next(page["targetId"] for page in pages if page["type"] == "page")
        self._session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "DOM"):
            self._send(f"{domain}.enable")
        self._send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait(20)
        for end in (self._read, self._write):
            os.close(end)

    def open(self, url: str) -> None:
        self._send("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def evaluate(self, script: str) -> Any:
        """The value of a script, promises awaited."""
        found = self._send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise AssertionError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def until(self, script: str, patience: float = 60) -> None:
        """Wait until a script is true."""
        deadline = time.monotonic() + patience
        while not self.evaluate(script):
            assert time.monotonic() < deadline, (
                f"never true: {script}; the page says: {self.evaluate('document.body.innerText')}"
            )
            time.sleep(0.1)

    def choose(self, selector: str, *files: Path) -> None:
        """Put files into an input."""
        root = self._send("DOM.getDocument")["root"]["nodeId"]
        node = self._send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._send("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in files])

    def downloads(self, directory: Path) -> None:
        """Let downloads fall into `directory`."""
        self._send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(directory))

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._send("Page.captureScreenshot")["data"]))

    def _send(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            response = self._receive()
            if response.get("id") == number:
                assert "error" not in response, (method, response["error"])
                return response["result"]
            self.messages.append(response)

    def _receive(self, patience: float = 120) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._read], [], [], patience)[0], "the browser does not answer"
            part = os.read(self._read, 1 << 16)
            assert part, "the browser is gone"
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)
