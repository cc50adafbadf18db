import base64
import io

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

from jaxcnn import report
from jaxcnn.report.canvas import BLUE, INK, MUTED, ORANGE, PAPER
from jaxcnn.report.embed import DARK, HEAVY, embed


def decoded(figure) -> tuple[str, bytes]:
    head, data = embed(figure).uri.split(",", 1)
    return head, base64.b64decode(data)


def svg(figure) -> str:
    head, data = decoded(figure)
    assert head == "data:image/svg+xml;base64"
    return data.decode()


def paper_of(image: str) -> str:
    return image.split('id="patch_1"')[1].split('style="')[1].split('"')[0]


def stranger(**options) -> Figure:
    figure = Figure(figsize=(4, 3), **options)
    figure.subplots().set_title(r"$\alpha$")
    return figure


def test_our_figures_change_colours_with_the_scheme():
    image = svg(report.confusion(np.eye(2, dtype=int)))
    assert "@media (prefers-color-scheme:dark)" in image
    for colour in DARK:
        assert f"fill: {colour}" not in image
        assert f"stroke: {colour}" not in image
    assert "DejaVu Sans', sans-serif" in image
    assert "system-ui" in image


def test_our_figures_paint_their_own_paper():
    # Safari long showed images in the light scheme on dark pages: dark ink needs its light paper even there.
    assert paper_of(svg(report.confusion(np.eye(2, dtype=int)))) == "fill: var(--c0)"


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours by WCAG 2.2."""

    def luminance(colour):
        part = np.frombuffer(bytes.fromhex(colour.removeprefix("#")), np.uint8) / 255
        return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("ink", [INK, MUTED, BLUE, ORANGE])
def test_texts_stand_out_in_both_schemes(ink):
    assert contrast(ink, PAPER) > 4.5
    assert contrast(DARK[ink], DARK[PAPER]) > 4.5


@pytest.mark.parametrize("paper", ["white", "none"])
def test_figures_of_strangers_keep_their_colours_on_paper(paper):
    image = svg(stranger(facecolor=paper))
    assert "prefers-color-scheme" not in image
    assert paper_of(image) == "fill: #ffffff"
    assert "<text" not in image  # mathematics stays as it was drawn


def test_small_images_keep_their_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
    image = svg(report.image_grid(pixels))
    png = image.split("data:image/png;base64,")[1].split('"')[0]
    np.testing.assert_array_equal(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"), pixels[0])
    assert "image-rendering" in image


def test_photographs_are_compressed():
    ramp = np.linspace(0, 255, 600)
    noise = np.random.default_rng(0).normal(0, 4, (4, 600, 600, 3))
    photographs = np.clip(ramp[:, None, None] + noise, 0, 255).astype(np.uint8)
    image = svg(report.image_grid(photographs, columns=2))
    assert image.count("data:image/webp") == 4
    assert len(image) < 0.1 * photographs.size


def test_a_heavy_drawing_becomes_a_png():
    figure = stranger()
    figure.axes[0].scatter(*np.random.default_rng(0).random((2, 10_000)), s=1)
    head, data = decoded(figure)
    assert head == "data:image/png;base64"
    assert len(data) < HEAVY
    assert Image.open(io.BytesIO(data)).size == (768, 576)
    assert embed(figure)[1:] == (384, 288)


def test_bytes_do_not_depend_on_time_or_style():
    def draw():
        return [
            report.curves([{"epoch": 1, "train_loss": 1.0}, {"epoch": 2, "train_loss": 0.5}]),
            report.confusion(np.eye(3, dtype=int)),
            report.image_grid(np.zeros((3, 4, 4)), ["a", "b", "c"]),
        ]

    plain = [embed(figure) for figure in draw()]
    with rc_context({"axes.facecolor": "black", "text.color": "red", "font.size": 30, "axes.grid": True}):
        styled = [embed(figure) for figure in draw()]
    assert plain == styled


@pytest.mark.parametrize(
    "name", ["$x_", r"$\frac$", "日本語", "\x00\x1b", "<script>", "a\nb", "\ud800", "]]>", "&amp;"]
)
def test_any_class_name_can_be_drawn(name):
    from xml.etree import ElementTree

    for figure in (
        report.confusion(np.eye(2, dtype=int), [name, "b"]),
        report.label_counts({name: np.ones(2)}, [name, "b"]),
        report.image_grid(np.zeros((1, 4, 4)), [name]),
        report.mistakes(np.zeros((1, 4, 4)), [0], [1], [0.5], [name, "b"]),
        report.feature_maps({name: np.zeros((2, 2, 1))}),
    ):
        ElementTree.fromstring(svg(figure))
