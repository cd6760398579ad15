"""A headless Chromium that is told what to do through a pipe, by its own DevTools protocol."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Browser", "Tab", "chromium", "open_browser"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# A wait for what must come; a machine under load is slow.
_PATIENCE_S = 60.0
_KEYS = {
    "Enter": 13,
    "Escape": 27,
    "Tab": 9,
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
}


def chromium() -> str | None:
    """The program, or None where there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Browser:
    """Sends commands and reads answers; what is no answer is an event."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, read
        self._rest = b""
        self._number = 0
        self._messages: deque[dict[str, Any]] = deque()
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """The answer to a command; what is said meanwhile is kept in `events`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        os.write(
            self._write, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0"
        )
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE_S
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "Chromium does not answer."
            more = os.read(self._read, 1 << 20)
            assert more, "Chromium has ended."
            self._rest += more
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def open(self, path: Path, *, width: int = 1400, height: int = 1000, dark: bool = False) -> Tab:
        """A page that is loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, session, target)
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.call(f"{domain}.enable")
        tab.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        tab.call("Emulation.setEmulatedMedia", features=[scheme])
        tab.call("Page.navigate", url=path.resolve().as_uri())
        tab.wait("document.readyState === 'complete'")
        return tab


class Tab:
    """One page."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser, self.session, self._target = browser, session, target

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer of this page to a command."""
        return self._browser.call(method, self.session, **parameters)

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str) -> None:
        """Until the expression is true."""
        deadline = time.monotonic() + _PATIENCE_S
        while not self.value(expression):
            assert time.monotonic() < deadline, expression
            time.sleep(0.02)

    def click(self, selector: str) -> None:
        """A click of the mouse in the middle of what the selector finds."""
        x, y = self.value(
            f"(() => {{ const node = document.querySelector({json.dumps(selector)});"
            "node.scrollIntoView({ block: 'center', behavior: 'instant' }); const box = node.getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        """A key down and up again."""
        code = {"windowsVirtualKeyCode": _KEYS.get(key, ord(key[0].upper())), "key": key, "code": key}
        text = {"text": "\r"} if key == "Enter" else {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **code)

    def choose(self, selector: str, value: Any) -> None:
        """Give a control a value, as a person does."""
        self.value(
            f"(() => {{ const node = document.querySelector({json.dumps(selector)}); node.value = {json.dumps(value)};"
            "for (const kind of ['input', 'change']) node.dispatchEvent(new Event(kind, { bubbles: true })); })()"
        )

    def screenshot(self, path: Path, *, full: bool = False) -> None:
        """What is seen, as a PNG; with `full` all of the page."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=full)["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self) -> None:
        """No more of this page."""
        self._browser.call("Target.closeTarget", targetId=self._target)

    @property
    def complaints(self) -> list[dict[str, Any]]:
        """Exceptions, errors and warnings so far, and requests that leave the page."""
        self.value("0")
        mine = [each for each in self._browser.events if each.get("sessionId") == self.session]
        return [each for each in mine if _is_complaint(each["method"], each["params"])]


def _is_complaint(method: str, said: dict[str, Any]) -> bool:
    if method == "Runtime.consoleAPICalled":
        return said["type"] in ("error", "warning", "assert")
    if method == "Log.entryAdded":
        return said["entry"]["level"] in ("error", "warning")
    if method == "Network.requestWillBeSent":
        return not said["request"]["url"].startswith(("data:", "file:"))
    return method == "Runtime.exceptionThrown"


@contextmanager
def open_browser(program: str, profile: Path) -> Iterator[Browser]:
    """Start Chromium with an empty profile in `profile`, and end it."""
    their_read, write = os.pipe()
    read, their_write = os.pipe()
    # The protocol is spoken over 3 and 4. Above them nothing is in the way when they are put there.
    theirs = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 10) for each in (their_read, their_write)]
    nothing = os.open(os.devnull, os.O_RDWR)
    arguments = [
        program,
        "--headless",
        "--no-sandbox",  # root in a container has none; the page is the test's own
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--remote-debugging-pipe",
        f"--user-data-dir={profile}",
    ]
    actions = [(os.POSIX_SPAWN_DUP2, theirs[0], 3), (os.POSIX_SPAWN_DUP2, theirs[1], 4)]
    quiet = [(os.POSIX_SPAWN_DUP2, nothing, each) for each in (0, 1, 2)]
    process = os.posix_spawn(program, arguments, os.environ, file_actions=[*quiet, *actions], setpgroup=0)
    for each in (their_read, their_write, *theirs, nothing):
        os.close(each)
    try:
        yield Browser(write, read)
    finally:
        os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(write)
        os.close(read)
