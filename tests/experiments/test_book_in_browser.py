"""A small book as its readers open it: the index, and the page of an experiment, on a desk and on a phone."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from experiments import all as everything
from tests.browser import browser, visit  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("quick_compilation")
NAMES = ("perceptron", "convolution")
PAGES = ["index.html", *(f"{name}/report.html" for name in NAMES)]


@pytest.fixture(scope="module")
def book(browser, tmp_path_factory):  # noqa: F811 - without a browser none is made
    folder = tmp_path_factory.mktemp("book")
    everything.main(everything.Config(quick=True, only=NAMES, run=str(folder)))
    return folder


@pytest.mark.parametrize("scripts", [False, True], ids=["without scripts", "with scripts"])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_quiet_and_all_its_pictures_and_links_are_there(browser, book, page, scripts):  # noqa: F811
    with visit(browser, book / page, scripts=scripts) as seen:
        widths = seen.page.evaluate("Array.from(document.images, image => image.complete && image.naturalWidth)")
        assert all(widths)
        assert bool(widths) == (page != "index.html")
        links = seen.page.evaluate("Array.from(document.links, link => link.href)")
        reached = set()
        for link in map(urlsplit, links):
            target = Path(unquote(link.path))
            assert f'id="{link.fragment}"' in target.read_text() or not link.fragment
            reached.add(target.relative_to(book.resolve()).as_posix())
        assert reached == {page, *(PAGES if page == "index.html" else PAGES[:1])}
        seen.expect_quiet()


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_wider_than_a_phone(browser, book, page):  # noqa: F811
    with visit(browser, book / page, width=390) as seen:
        seen.page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390
        outside = """Array.from(document.querySelectorAll("body *"), item => [item, item.getBoundingClientRect()])
            .filter(([item, box]) => box.right > innerWidth + 1 && !item.closest(".scroll")).length"""
        assert seen.page.evaluate(outside) == 0


def test_the_index_leads_to_a_page_and_back_and_the_page_to_its_code(browser, book):  # noqa: F811
    with visit(browser, book / "index.html") as seen:
        seen.page.locator('a[href="convolution/report.html"]').click()
        assert seen.page.title() == "convolution"
        code = seen.page.locator("details", has_text="experiments/convolution.py")
        assert not code.locator("pre").is_visible()
        code.locator("summary").click()
        assert code.locator("pre").is_visible()
        seen.page.get_by_role("link", name="All experiments").click()
        assert seen.page.url.endswith("/index.html")
        seen.expect_quiet()
