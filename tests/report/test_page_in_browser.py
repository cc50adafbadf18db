import numpy as np
import pytest

from jaxcnn import report
from tests.browser import browser, visit  # noqa: F401 - a fixture

GENERATOR = np.random.default_rng(0)
NAMES = ["<b>aeroplane</b>", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck" * 20]


def picture(figure) -> report.Picture:
    return report.Picture(figure, "A caption.", "A picture.")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    images = GENERATOR.random((40, 8, 8))
    labels = GENERATOR.integers(0, 10, (2, 40))
    rates = np.geomspace(1e-5, 1, 30)
    history = [
        {"epoch": epoch, "train_loss": 2 / epoch, "validation_loss": 2.2 / epoch + 0.01 * epoch, "seconds": 1.0}
        for epoch in range(1, 31)
    ]
    pictures = [
        report.curves(history),
        report.confusion(GENERATOR.integers(0, 9, (10, 10)), NAMES),
        report.label_counts({"train": np.arange(10), "test": np.arange(10)}, NAMES),
        report.image_grid(images[:16], [str(number) for number in range(16)]),
        report.image_grid(GENERATOR.random((4, 300, 300, 3)), columns=4),
        report.mistakes(images, *labels, GENERATOR.random(40), NAMES),
        report.filters(GENERATOR.normal(size=(5, 5, 3, 16))),
        report.feature_maps({"conv": GENERATOR.normal(size=(8, 8, 32))}, images[0]),
        report.learning_rates(rates, 1 / rates, 0.01),
    ]
    wide = [{f"a rather long column {column}": column * 1000.5 for column in range(20)}]
    page = report.Page(
        "A page " + "w" * 100,
        "runs/" + "x" * 300,
        [report.Number("accuracy", "98 %", "y" * 100), report.Number("weights", 10**12)],
        [
            report.Section("Pictures", [picture(figure) for figure in pictures]),
            report.Section("Numbers", [report.Table(wide, "Wide"), report.Table(history, "Long", folded=True)]),
            report.Section("Text", ["z" * 300, report.Verbatim("v" * 300), report.Facts({"f" * 50: "g" * 300})]),
        ],
    )
    return page.write(tmp_path_factory.mktemp("page") / "report.html")


@pytest.mark.slow
@pytest.mark.parametrize("scripts", [False, True])
def test_the_page_opens_quietly_and_shows_every_picture(browser, path, scripts):  # noqa: F811
    with visit(browser, path, scripts=scripts) as seen:
        widths = seen.page.evaluate("Array.from(document.images, image => image.naturalWidth)")
        assert len(widths) == 9
        assert min(widths) > 0
        seen.expect_quiet()
        assert seen.page.evaluate("performance.getEntriesByType('resource').length") == 0 or not scripts


@pytest.mark.parametrize("width", [375, 768, 1280])
def test_nothing_is_wider_than_the_window(browser, path, width):  # noqa: F811
    with visit(browser, path, width=width) as seen:
        seen.page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        outside = """Array.from(document.querySelectorAll("body *"), item => [item, item.getBoundingClientRect()])
            .filter(([item, box]) => box.right > innerWidth + 1 && !item.closest(".scroll")).length"""
        assert seen.page.evaluate(outside) == 0


@pytest.mark.slow
def test_pictures_stand_side_by_side_where_there_is_room(browser, path):  # noqa: F811
    lefts = "Array.from(document.querySelectorAll('figure'), item => item.getBoundingClientRect().left)"
    with visit(browser, path, width=1280) as seen:
        assert len(set(seen.page.evaluate(lefts))) == 2
    with visit(browser, path, width=375) as seen:
        assert len(set(seen.page.evaluate(lefts))) == 1


def test_pictures_fit_a_phone_without_scrolling(browser, path):  # noqa: F811
    with visit(browser, path, width=375) as seen:
        rest = "Array.from(document.querySelectorAll('figure .scroll'), item => item.scrollWidth - item.clientWidth)"
        assert max(seen.page.evaluate(rest)) == 0


def test_pictures_are_dark_on_a_dark_page_and_light_on_paper(browser, path):  # noqa: F811
    import io

    from PIL import Image

    def corner(seen):
        return Image.open(io.BytesIO(seen.page.locator("img").first.screenshot())).convert("L").getpixel((2, 2))

    with visit(browser, path, scheme="light") as seen:
        assert corner(seen) == 255
    with visit(browser, path, scheme="dark") as seen:
        assert corner(seen) < 40
        seen.page.emulate_media(media="print", color_scheme="dark")
        assert corner(seen) == 255


def test_the_contents_lead_to_their_sections(browser, path):  # noqa: F811
    with visit(browser, path) as seen:
        seen.page.get_by_role("link", name="Text").click()
        assert seen.page.url.endswith("#s3")
        assert seen.page.locator("#s3 h2").text_content() == "Text"
        seen.expect_quiet()
