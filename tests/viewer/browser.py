"""Headless Chromium by its debugging pipe: look into a page, click, and take pictures of it."""

import base64
import io
import json
import os
import select
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

needs_chromium = pytest.mark.skipif(
    shutil.which("chromium") is None, reason="no chromium here; apt-get install chromium"
)
FLAGS = (
    "--headless --no-sandbox --disable-quic --no-first-run --hide-scrollbars "
    "--use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--remote-debugging-pipe"
).split()
TIMEOUT_S = 60
LAUNCHER = """
import os, sys
ends = [os.dup(os.dup(os.dup(int(end)))) for end in sys.argv[1:3]]  # neither is 3 or 4 now
for descriptor, end in zip((3, 4), ends):
    os.dup2(end, descriptor)
os.execvp(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One page in one Chromium; used as a context."""

    def __init__(self, profile):
        # Chromium reads commands from descriptor 3 and answers on 4.
        theirs, self._out = os.pipe()
        self._in, answers = os.pipe()
        launch = [sys.executable, "-c", LAUNCHER, str(theirs), str(answers), "chromium"]
        self._process = subprocess.Popen(
            [*launch, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(theirs, answers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs)
        os.close(answers)
        self._rest, self._number, self.events, self._session = b"", 0, [], None
        (target,) = (
            one["targetId"]
            for one in self.call("Target.getTargets")["targetInfos"]
            if one["type"] == "page"
        )
        found = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = found["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._out)
        self._process.terminate()
        self._process.wait(20)
        os.close(self._in)

    def call(self, method, **params):
        """Send a command and return its result; events before it are kept in `events`."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _read(self):
        until = time.monotonic() + TIMEOUT_S
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(0, until - time.monotonic()))
            part = os.read(self._in, 1 << 20) if ready else b""
            assert part, "chromium says nothing"
            self._rest += part
        answer, _, self._rest = self._rest.partition(b"\0")
        return json.loads(answer)

    def run(self, code):
        """Return what an expression, or the promise that it gives, comes to in the page."""
        found = self.call(
            "Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def open(self, path, width, height):
        """Open a file and wait until it says that it is ready, or that it failed."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        self.call("Page.navigate", url=path.as_uri())
        until = time.monotonic() + TIMEOUT_S
        while self.run("document.body?.dataset.state ?? 'loading'") == "loading":
            assert time.monotonic() < until, "the page never gets ready"
            time.sleep(0.1)

    def picture(self):
        """Return what the window shows: uint8 [rows, columns, RGB]."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        png = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))

    def complaints(self):
        """Return all that the page wrote to the console, and its uncaught errors."""
        said = []
        for event in self.events:
            if event["method"] == "Runtime.consoleAPICalled":
                texts = [str(one.get("value", "")) for one in event["params"]["args"]]
                said.append(f"{event['params']['type']}: {' '.join(texts)}")
            elif event["method"] == "Runtime.exceptionThrown":
                said.append(json.dumps(event["params"]["exceptionDetails"]))
            elif event["method"] == "Log.entryAdded":
                said.append(event["params"]["entry"]["text"])
        return said

    def requests(self):
        """Return the addresses that were asked for, but those that hold their content."""
        asked = [
            event["params"]["request"]["url"]
            for event in self.events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return [address for address in asked if not address.startswith(("data:", "blob:"))]
