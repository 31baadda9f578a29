"""A headless Chromium, driven over its DevTools pipe with the standard library alone."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # in a container there is none; the page is our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
_PATIENCE = 90.0
READY = """
new Promise((done) => {
  const look = () => (performance.getEntriesByName('ready').length ? done() : setTimeout(look, 5));
  look();
})
"""
"""A script that ends when the page can be used."""
_FIRST_FREE = 10
# Puts the pipe to where the browser looks for it. Not a preexec_fn, which may deadlock in a process
# with threads, nor a shell, some of which know descriptors of one digit only.
_TRAMPOLINE = """
import os, sys
for theirs, place in zip(map(int, sys.argv[1:3]), (3, 4)):
    os.dup2(theirs, place)
os.execv(sys.argv[3], sys.argv[3:])
"""


class BrowserError(AssertionError):
    """The browser did not answer, or a script in the page failed."""


def find() -> str:
    """Path of an installed browser; skips the test where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    return found or pytest.skip(f"no browser installed: none of {', '.join(NAMES)} is on the path")


class Tab:
    """One page of a browser.

    Attributes:
        requests: addresses that were asked for.
        errors: texts of exceptions, warnings and what the console logged as an error (breaches of
            the content security policy among them).
    """

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = read, write
        self._buffer = b""
        self._count = 0
        self._session: str | None = None
        self._loaded = False
        self.requests: list[str] = []
        self.errors: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Sends a command and returns its result; events that come meanwhile are kept."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']}")
                return answer["result"]

    def open(self, page: Path, view: str = "") -> None:
        """Opens a file, at what follows the "#" of an address, and waits until it has loaded."""
        self.send("Page.navigate", url="about:blank")  # "#" alone would not load the page anew
        self._loaded = False
        self.requests.clear()
        self.errors.clear()
        self.send("Page.navigate", url=page.resolve().as_uri() + view)
        while not self._loaded:
            self._next()

    def run(self, script: str) -> Any:
        """The value of an expression, or of the promise that it is."""
        answer = self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise BrowserError(json.dumps(answer["exceptionDetails"])[:2000])
        return answer["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """A key as a person presses it; ``code`` is its Windows virtual key code."""
        text = {"text": "\r"} if key == "Enter" else {}
        text = {"text": " "} if key == " " else text
        shared = {"key": key, "code": key.strip() or "Space", "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="keyDown", **shared, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", **shared)

    def look(self, *, width: int, height: int, scheme: str) -> None:
        """Size of the window and the colour scheme that its user prefers."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", features=features)

    def screenshot(self) -> bytes:
        """What is seen, as PNG."""
        return base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])

    def _next(self) -> dict[str, Any]:
        until = time.monotonic() + _PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, until - time.monotonic()))
            piece = os.read(self._read, 1 << 16) if ready else b""
            if not piece:
                raise BrowserError("the browser does not answer")
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, params: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"])[:500])
        elif event == "Runtime.consoleAPICalled" and params["type"] in ("warning", "error"):
            self.errors.append(json.dumps(params["args"])[:500])
        elif event == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])


@contextlib.contextmanager
def tab(program: str, profile: Path) -> Iterator[Tab]:
    """A fresh browser with a profile of its own; ended in any case."""
    down, up = os.pipe(), os.pipe()
    # The browser reads commands from descriptor 3 and answers on 4; out of the way of these two,
    # so that putting the one into place cannot close the other.
    theirs = [fcntl.fcntl(fd, fcntl.F_DUPFD, _FIRST_FREE) for fd in (down[0], up[1])]
    browser = [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _TRAMPOLINE, *map(str, theirs), *browser],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=theirs,
        env={**os.environ, "HOME": str(profile)},
    )
    for fd in (*theirs, down[0], up[1]):
        os.close(fd)
    try:
        yield Tab(up[0], down[1])
    finally:
        process.kill()
        process.wait(timeout=_PATIENCE)
        os.close(up[0])
        os.close(down[1])
