"""Chromium without a window, driven by the DevTools protocol over a pipe: real keys, a real mouse, and other media.

https://chromedevtools.github.io/devtools-protocol; messages are JSON that ends in a zero byte. One page at a time.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import time
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu")
PATIENCE = 60  # seconds
KEYS = {"Tab": (9, ""), "Enter": (13, "\r")}  # code and text


class Browser:
    """A running Chromium, to be used in a `with`. folder: where its profile goes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Browser:
        reads, self.output = os.pipe()
        self.input, writes = os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (reads, writes)]  # clear of 3 and 4
        self.process = os.posix_spawn(
            CHROMIUM,
            [CHROMIUM, *OPTIONS, f"--user-data-dir={self.folder}", "--remote-debugging-pipe", "--window-size=1200,900"],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_DUP2, ends[0], 3),  # where Chromium reads commands
                (os.POSIX_SPAWN_DUP2, ends[1], 4),  # and where it answers
            ],
        )
        for end in (reads, writes, *ends):
            os.close(end)
        self.said, self.count, self.session = b"", 0, None
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.output)
        os.close(self.input)
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)

    def open(self, page: Path) -> None:
        """Load a file, and wait until it is there."""
        self.session = None
        target = self.call("Target.createTarget", url=page.as_uri())["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.until("document.readyState === 'complete' && location.protocol === 'file:'")

    def call(self, method: str, **parameters: object) -> dict:
        """One command of the protocol and its result."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.output, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self.count:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self) -> dict:
        while b"\0" not in self.said:
            more = os.read(self.input, 2**16)
            assert more, "Chromium has ended"
            self.said += more
        message, _, self.said = self.said.partition(b"\0")
        return json.loads(message)

    def value(self, expression: str) -> object:
        """What a JavaScript expression gives, as JSON."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, expression: str) -> object:
        """The value of an expression once that is true."""
        for _ in range(20 * PATIENCE):
            if found := self.value(expression):
                return found
            time.sleep(0.05)
        raise TimeoutError(f"never true in {PATIENCE} s: {expression}")

    def press(self, key: str) -> None:
        """Press and release one of KEYS."""
        code, text = KEYS[key]
        pressed = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **pressed)
        self.call("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def point_at(self, x: float, y: float) -> None:
        """Move the mouse to a place in the window, in pixels."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def show_as(self, *, media: str = "screen", scheme: str = "light") -> None:
        """From now on the page is for a screen or for "print", and its reader prefers a "light" or "dark" scheme."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)
