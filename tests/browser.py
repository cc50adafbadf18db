"""A headless browser for tests that look at a page as its reader does.

from tests.browser import browser, visit  # noqa: F401 - a fixture

def test_it(browser, tmp_path):
    with visit(browser, tmp_path / "report.html", width=375) as seen:
        assert seen.page.title() == "..."
        seen.expect_quiet()
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


# One a module: two of them cannot be open at a time, and each module that imports the fixture gets its own.
@pytest.fixture(scope="module")
def browser():
    """Return a running Chromium; skip where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser found: none of {', '.join(NAMES)}")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=list(ARGS))
        yield chromium
        chromium.close()


@dataclass
class Visit:
    """An open page and what happened while it was open."""

    page: object
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def expect_quiet(self) -> None:
        """Fail if the page said anything on the console, asked the network for anything, or got no answer."""
        outside = [address[:80] for address in self.requests if not address.startswith(("file:", "data:"))]
        assert not self.complaints + outside


@contextmanager
def visit(browser, path: Path, *, width: int = 1280, scheme: str = "light", scripts: bool = False) -> Iterator[Visit]:
    """Open a file in a window of its own, by default without JavaScript, and close it again."""
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, java_script_enabled=scripts
    )
    try:
        seen = Visit(context.new_page())
        seen.page.on("console", lambda message: seen.complaints.append(f"console: {message.text}"))
        seen.page.on("pageerror", lambda error: seen.complaints.append(f"error: {error}"))
        seen.page.on("requestfailed", lambda request: seen.complaints.append(f"failed: {request.url[:80]}"))
        seen.page.on("request", lambda request: seen.requests.append(request.url))
        seen.page.goto(path.resolve().as_uri(), wait_until="load")
        yield seen
    finally:
        context.close()
