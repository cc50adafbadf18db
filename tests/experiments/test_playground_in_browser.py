"""The playground as one uses it, in a browser; and text that would be code, which stays text there and in reports."""

import time
from contextlib import contextmanager

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

from experiments.playground import server
from jaxcnn import report
from tests.browser import browser, visit  # noqa: F401 - a fixture
from tests.experiments.playground_net import EXAMPLES, HOSTILE, subject

pytestmark = pytest.mark.usefixtures("quick_compilation")
LAYER = "<img src=x onerror=window.ran=1>"


@pytest.fixture(scope="module")
def address():
    known = subject()
    with server.serving(lambda hosts: server.application(known, EXAMPLES, "a net", hosts), 0) as address:
        yield address


@contextmanager
def opened(browser, address, *, link="", **options):  # noqa: F811
    """Open the page, and fail if it complains or asks anyone but its own server."""
    context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda sent: sent.url.startswith((address, "data:")) or complaints.append(sent.url[:80]))
    page.set_default_timeout(20_000)
    try:
        page.goto(link or address)
        settled(page)
        yield page
        assert not complaints
    finally:
        context.close()


def until(page, holds):
    """Wait until an expression is true; Playwright's own way is `eval`, which the page's policy forbids."""
    end = time.monotonic() + 20
    while not page.evaluate(holds):
        assert time.monotonic() < end, holds
        page.wait_for_timeout(20)


def settled(page):
    """Wait until what was asked last is answered and in the link."""
    page.wait_for_timeout(60)
    until(page, "$('value').textContent !== '' && !document.querySelector('[aria-busy=true]') && !due.size")
    page.wait_for_timeout(250)


def line(page, x):
    """Draw a line from top to bottom, at a fraction of the paper's width."""
    box = page.locator("#paper").bounding_box()
    across = box["x"] + x * box["width"]
    page.mouse.move(across, box["y"] + 0.1 * box["height"])
    page.mouse.down()
    page.mouse.move(across, box["y"] + 0.9 * box["height"], steps=5)
    page.mouse.up()
    settled(page)


def seen(page):
    names = ("likeliest", "share", "target", "scale", "broken", "broken-share", "epsilon-value", "where", "value")
    texts = {name: page.locator(f"#{name}").text_content() for name in names}
    pictures = {name: page.locator(f"#{name}").get_attribute("src") for name in ("map", "change", "changed")}
    return (
        texts
        | pictures
        | {"terms": page.locator("#terms").text_content(), "pixels": page.evaluate("encoded(state.image)")}
    )


def test_draw_attack_look_closer_and_open_the_link(browser, address):  # noqa: F811
    with opened(browser, address) as page:
        assert page.locator("#likeliest").text_content() == "left"  # of the first example
        page.get_by_role("button", name="Clear").click()
        line(page, 0.8)
        assert page.locator("#likeliest").text_content() == "right"
        page.get_by_role("slider").fill("0")
        settled(page)
        assert page.locator("#broken").text_content() == "right"
        page.get_by_role("slider").fill("0.5")
        settled(page)
        assert page.locator("#broken").text_content() == "left"
        page.get_by_label("Method").select_option("integrated gradients")
        page.locator("#bars button").first.click()
        maps = page.get_by_role("group", name="Maps of conv").get_by_role("button")
        box = maps.nth(1).bounding_box()
        maps.nth(1).click(position={"x": 6.5 / 8 * box["width"], "y": 2.5 / 8 * box["height"]})
        settled(page)
        found = seen(page)
        assert found["where"] == "conv, map 1, row 2, column 6"
        assert found["target"] == "left"
        total, bias, value = (float(n.replace("−", "-")) for n in found["value"].replace("=", "+").split(" + "))
        assert total + bias == pytest.approx(value, abs=2e-4)
        products = page.locator("table[aria-label=products] td").all_text_contents()
        assert sum(float(n.replace("−", "-")) for n in products) == pytest.approx(total, abs=0.05)
        link = page.url
        page.reload()
        settled(page)
        assert seen(page) == found
    with opened(browser, address, link=link) as page:
        assert seen(page) == found


@pytest.mark.slow
def test_it_works_by_keys_alone(browser, address):  # noqa: F811
    with opened(browser, address) as page:
        reached = set()
        page.locator("#paper").focus()
        for _ in range(30):
            reached.add(page.evaluate("document.activeElement.id || document.activeElement.getAttribute('aria-label')"))
            page.keyboard.press("Tab")
        assert {"paper", "erase", "clear", "invert", "example", "opener", "method", "epsilon"} <= reached
        assert {"map 0", "chosen", "slide"} <= reached
        page.locator("#clear").press("Enter")
        page.locator("#paper").focus()
        for key in ("ArrowDown", "ArrowRight", "Space", "ArrowDown", "Space"):
            page.keyboard.press(key)
        settled(page)
        assert page.locator("#likeliest").text_content() == "left"
        page.locator("#chosen").focus()
        for key in ("ArrowLeft", "ArrowUp", "ArrowUp"):
            page.keyboard.press(key)
        settled(page)
        assert page.locator("#where").text_content() == "conv, map 0, row 2, column 3"
        page.get_by_role("group", name="Maps of conv").get_by_role("button").first.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        settled(page)
        assert page.locator("#where").text_content().startswith("conv, map 1, row 4, ")


@pytest.mark.slow
def test_it_fits_a_phone_and_takes_touches(browser, address):  # noqa: F811
    phone = {"viewport": {"width": 375, "height": 800}, "has_touch": True, "is_mobile": True, "color_scheme": "dark"}
    with opened(browser, address, **phone) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(15, 18, 22)"
        page.locator("#clear").tap()
        page.locator("#paper").tap(position={"x": 260, "y": 100})
        settled(page)
        assert page.locator("#likeliest").text_content() == "right"
        page.locator("#chosen").scroll_into_view_if_needed()
        page.locator("#chosen").tap(position={"x": 3, "y": 3})
        settled(page)
        assert page.locator("#where").text_content() == "conv, map 0, row 0, column 0"
        assert page.locator("td.outside").count() == 5


def test_a_file_is_opened_or_refused_with_a_message(browser, address, tmp_path):  # noqa: F811
    image = pytest.importorskip("PIL.Image")
    image.fromarray(EXAMPLES["image"][1][..., 0]).save(tmp_path / "right.png")
    (tmp_path / "huge.png").touch()
    with (tmp_path / "huge.png").open("r+b") as file:
        file.truncate(server.MOST_BYTES + 1)
    with opened(browser, address) as page:
        page.locator("#file").set_input_files(tmp_path / "right.png")
        until(page, "$('likeliest').textContent === 'right'")
        page.locator("#file").set_input_files(tmp_path / "huge.png")
        until(page, "$('message').textContent.startsWith('image: expected at most 32 MB')")


@pytest.mark.parametrize(
    "link", ["image=%00%ff&layer=<b>&row=1e99&epsilon=NaN", "image=AAAA&target=-7&channel=x&method="]
)
def test_a_link_that_says_nonsense_opens_what_is_usual(browser, address, link):  # noqa: F811
    with opened(browser, address, link=f"{address}#{link}") as page:
        assert page.locator("#where").text_content().startswith("conv, map 0, row ")
        assert page.evaluate("state.epsilon") in (0, 0.1)


def test_hostile_names_are_text(browser):  # noqa: F811
    assert len(HOSTILE) == 100
    names = ("left", "right", *HOSTILE)
    known = subject(names=names, conv=LAYER)
    with (
        server.serving(lambda hosts: server.application(known, EXAMPLES, HOSTILE[3], hosts), 0) as address,
        opened(browser, address) as page,
    ):
        for start in range(0, 100, 10):
            page.evaluate(
                "first => bars(about.classes.map((_, at) => at >= first && at < first + 10 ? 1 : 0))", 2 + start
            )
            assert page.locator("#bars bdi").all_text_contents() == HOSTILE[start : start + 10]
            page.evaluate(
                "first => showAnswer({shares: about.classes.map((_, at) => Number(at === first))})", 2 + start
            )
            page.evaluate("first => showAttribution({target: first, largest: 1, picture: 'data:,'})", 2 + start)
            assert page.locator("#likeliest").text_content() == page.locator("#target").text_content() == HOSTILE[start]
        assert page.locator("#title").text_content() == HOSTILE[3]
        assert page.locator("#where").text_content().startswith(f"{LAYER}, map 0")
        for text in HOSTILE:
            page.evaluate("text => say(text)", text)
        page.wait_for_timeout(200)
        assert page.evaluate("window.ran") is None
        assert page.locator("script").count() == 1
        assert page.locator("main img").count() == 3


@pytest.mark.slow
def test_hostile_texts_are_text_in_reports(browser, tmp_path):  # noqa: F811
    blocks = [
        *HOSTILE,
        report.Table([{text: text} for text in HOSTILE], HOSTILE[1]),
        report.Facts({text: text for text in HOSTILE}, HOSTILE[2], folded=True),
        report.Verbatim("\n".join(HOSTILE), HOSTILE[3]),
        report.Links([report.Link("a.html", text, text) for text in HOSTILE]),
        report.Picture(report.label_counts({"a": range(10)}, HOSTILE[:10]), HOSTILE[4], HOSTILE[5]),
    ]
    numbers = [report.Number(text, text, text) for text in HOSTILE]
    page = report.Page(
        HOSTILE[6], HOSTILE[7], numbers, [report.Section(text, blocks[:1]) for text in HOSTILE], HOSTILE[8]
    )
    whole = report.Page(HOSTILE[9], sections=[report.Section("all", blocks)], up=report.Link("a.html", HOSTILE[0]))
    for name, one in (("texts", page), ("blocks", whole)):
        with visit(browser, one.write(tmp_path / f"{name}.html"), scripts=True) as found:
            found.page.wait_for_timeout(200)
            assert found.page.evaluate("window.ran") is None
            assert found.page.locator("script, iframe, object, base, input").count() == 0
            assert found.page.locator("img").count() == (one is whole)
            found.expect_quiet()
