"""A whole Kilroy, started by `manage.py up` in a folder of its own, and a real browser that looks at it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Playwright,
    WebSocket,
    expect,
    sync_playwright,
)

from kilroy_site.config import BASE_DIR

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-features=LocalNetworkAccessChecks",  # a page that a test answers for may talk to the site that it is of
)
REPORT_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} blocked ${event.blockedURI || "inline"} in ${document.URL}`));
"""
STOP_SECONDS = 60
expect.set_options(timeout=20_000)  # a machine at work on other tests, too, may take long


@dataclass
class Site:
    """One running installation. `announced` is the line that `up` printed."""

    process: subprocess.Popen[str]
    environment: dict[str, str]
    announced: str

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.environment['PORT']}"

    @property
    def sign_in_link(self) -> str:
        found = re.search(r"http://\S+/sign-in/\S+", self.announced)
        assert found, self.announced
        return found.group()

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(command, cwd=BASE_DIR, env=self.environment, capture_output=True, text=True, check=False)

    def stop(self) -> tuple[int, str]:
        """Press Ctrl-C. Returns the exit code and what was said from then on."""
        self.process.send_signal(signal.SIGINT)
        words, errors = self.process.communicate(timeout=STOP_SECONDS)
        return self.process.returncode, words + errors


@pytest.fixture(scope="module")
def surroundings() -> dict[str, str]:
    """Environment variables of the installation: a file that wants others has a fixture of this name."""
    return {}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, surroundings: dict[str, str]) -> Iterator[Site]:
    """Started with the demo, unless the surroundings say no; one for all tests of a file."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    ours = {"KILROY_VAR": str(tmp_path_factory.mktemp("kilroy") / "var"), "PORT": str(port)}
    others = ("DATABASE_", "REDIS_", "DJANGO_", "KILROY_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    environment = kept | ours | surroundings
    process = subprocess.Popen(
        [sys.executable, "manage.py", "up"],
        cwd=BASE_DIR,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    running = Site(process, environment, line)
    try:
        yield running
    finally:
        if process.poll() is None:
            running.stop()


@dataclass
class Visitor:
    """A person's browser, with everything that went wrong in it and every word that came over its websockets."""

    context: BrowserContext
    page: Page
    troubles: list[str] = field(default_factory=list)
    frames: list[str] = field(default_factory=list)

    def listen(self) -> None:
        self.context.add_init_script(REPORT_VIOLATIONS)
        self.context.on("console", self._on_console)
        self.context.on("weberror", lambda error: self.troubles.append(f"uncaught: {error.error}"))
        self.page.on("websocket", self._on_websocket)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.troubles.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def _on_websocket(self, socket: WebSocket) -> None:
        socket.on("framereceived", lambda payload: self.frames.append(str(payload)))


@pytest.fixture(scope="module")
def visitor(site: Site) -> Iterator[Visitor]:
    """A browser that keeps its session from one test of the file to the next."""
    with sync_playwright() as playwright:
        someone = open_browser(playwright)
        yield someone
        someone.context.browser.close()


def launch(playwright: Playwright) -> Browser:
    executable = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    assert executable, "The browser tests need Chromium: install the package “chromium”."
    return playwright.chromium.launch(executable_path=executable, args=list(FLAGS))


def until(condition: Callable[[], object], seconds: float, what: str, page: Page) -> None:
    """Wait for a condition; the browser's events are handled meanwhile."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        page.wait_for_timeout(50)


def open_browser(playwright: Playwright) -> Visitor:
    browser = launch(playwright)
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(30_000)
    someone = Visitor(context, context.new_page())
    someone.listen()
    return someone
