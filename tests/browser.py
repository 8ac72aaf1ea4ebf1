"""A headless Chromium for the tests of pages, driven by the WebDriver protocol over plain HTTP.

    with Browser(tmp_path) as browser:
        browser.open("http://127.0.0.1:8765/")
        browser.type("#sentence", "a gripping film")
        browser.wait("document.querySelector('output').textContent")
        browser.screenshot(tmp_path / "page.png")

Debian has both programs: `apt-get install chromium chromium-driver`.
"""

import base64
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
CHROMEDRIVER = shutil.which("chromedriver") or ""
# Why a test of a page is skipped, or "" where it can run.
MISSING = "" if CHROMIUM and CHROMEDRIVER else "no chromium and chromedriver on the PATH"

_FLAGS = [
    "--headless",
    "--no-sandbox",  # as root, whom CI often is, Chromium does not start with it
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# The key under which the protocol hands an element on.
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Left": "\ue012", "Right": "\ue014", "Down": "\ue015"}


class Browser:
    """One window with an empty profile in `folder`; a `with` block closes it."""

    def __init__(self, folder):
        self._driver = subprocess.Popen(
            [CHROMEDRIVER, "--port=0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._url = None
        try:
            found = None
            while not found:
                line = self._driver.stdout.readline()
                assert line, "chromedriver ended before it said where it listens"
                found = re.search(r"started successfully on port (\d+)", line)
            options = {
                "binary": CHROMIUM,
                "args": [*_FLAGS, f"--user-data-dir={folder / 'chromium-profile'}"],
            }
            wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            base = f"http://127.0.0.1:{found[1]}/session"
            session = _call(base, {"capabilities": {"alwaysMatch": wanted}})
            self._url = f"{base}/{session['sessionId']}"
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """Close the window, and end the driver."""
        try:
            if self._url:
                _call(self._url, method="DELETE")
        finally:
            self._driver.terminate()
            self._driver.communicate()

    def open(self, url):
        """Go to a page, and wait until it has loaded."""
        _call(f"{self._url}/url", {"url": url})

    def resize(self, width, height):
        """Give the page a window of so many CSS pixels, also below the 500 of a real window."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._devtools("Emulation.setDeviceMetricsOverride", size)

    def run(self, expression, *arguments):
        """The value of a JavaScript expression, in which `arguments[0]`, ... are the others."""
        script = {"script": f"return {expression};", "args": arguments}
        return _call(f"{self._url}/execute/sync", script)

    def wait(self, expression, *arguments, seconds=30):
        """The value of an expression as soon as it is a true one."""
        end = time.monotonic() + seconds
        while not (value := self.run(expression, *arguments)):
            assert time.monotonic() < end, f"after {seconds} s still {value!r}: {expression}"
            time.sleep(0.05)
        return value

    def text(self, selector):
        """The text of an element, as a reader sees it."""
        return self.run("document.querySelector(arguments[0]).innerText", selector)

    def click(self, selector):
        """Click on an element."""
        _call(f"{self._element(selector)}/click", {})

    def type(self, selector, text):
        """Empty a field, then type into it."""
        _call(f"{self._element(selector)}/clear", {})
        # The protocol types no character outside the first plane, as of an emoji: DevTools does.
        self.run("document.querySelector(arguments[0]).focus()", selector)
        self._devtools("Input.insertText", {"text": text})

    def press(self, *keys):
        """Press keys of KEYS, or characters, one by one, wherever the focus is."""
        strokes = [
            {"type": kind, "value": KEYS.get(key, key)}
            for key in keys
            for kind in ("keyDown", "keyUp")
        ]
        keyboard = {"type": "key", "id": "keyboard", "actions": strokes}
        _call(f"{self._url}/actions", {"actions": [keyboard]})

    def screenshot(self, path):
        """Write a PNG of the whole page, what one has to scroll to included."""
        size = self.run("[innerWidth, document.documentElement.scrollHeight]")
        clip = dict(zip(("x", "y", "width", "height", "scale"), (0, 0, *size, 1), strict=True))
        whole = {"captureBeyondViewport": True, "clip": clip}
        picture = self._devtools("Page.captureScreenshot", whole)
        path.write_bytes(base64.b64decode(picture["data"]))

    def complaints(self):
        """What the page has written to the console since the last call: errors, above all."""
        return [entry["message"] for entry in _call(f"{self._url}/se/log", {"type": "browser"})]

    def _element(self, selector):
        found = _call(f"{self._url}/element", {"using": "css selector", "value": selector})
        return f"{self._url}/element/{found[_ELEMENT]}"

    def _devtools(self, command, parameters):
        return _call(f"{self._url}/goog/cdp/execute", {"cmd": command, "params": parameters})


def _call(url, body=None, method="POST"):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    # A proxy that the environment names has no business on the way to this machine itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as response:
            return json.load(response)["value"]
    except urllib.error.HTTPError as error:
        raise AssertionError(json.load(error)["value"]["message"]) from None
