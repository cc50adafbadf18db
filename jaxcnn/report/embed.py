"""A figure as a data URI: sharp, self-contained, the same bytes every time, readable in light and in dark."""

import base64
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxcnn.report.canvas import BLUE, GRID, INK, MUTED, ORANGE, OURS, PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DARK", "Embedded", "data_uri", "embed"]

HEAVY = 400_000  # bytes: an SVG above them gives way to a smaller PNG
PHOTOGRAPH = 6_000  # bytes: an image above them inside an SVG is compressed with loss
SHARP = 192  # dots an inch, twice the 96 of a CSS pixel
# What our colours become where the reader prefers a dark page; the paper is the card of page.html.jinja.
DARK = {
    PAPER: "#171b21",
    INK: "#e6e8eb",
    MUTED: "#9aa4b2",
    GRID: "#30363d",
    BLUE: "#56b4e9",
    ORANGE: "#f0883e",
}
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif"


class Embedded(NamedTuple):
    """A figure's data URI and its natural size in CSS pixels."""

    uri: str
    width: int
    height: int


def embed(figure: "Figure") -> Embedded:
    """Return a figure as SVG, or as PNG at twice the screen's dots where the SVG is heavy and the PNG lighter."""
    _settle(figure)
    kind, data = "svg+xml", _svg(figure)
    if len(data) > HEAVY:
        png = _saved(figure, "png", metadata={"Software": None})
        kind, data = min((kind, data), ("png", png), key=lambda form: len(form[1]))
    width, height = figure.get_size_inches()
    return Embedded(data_uri(data, kind), round(96 * width), round(96 * height))


def data_uri(data: bytes, kind: str = "png") -> str:
    """Return an image file as a data URI; `kind` is what its media type has after "image/"."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _settle(figure: "Figure") -> None:
    """Lay a figure out and keep it so: automatic layouts start from the last one and differ at every drawing."""
    if figure.get_layout_engine() is not None:
        with _any_letter():
            figure.draw_without_rendering()
        figure.set_layout_engine("none")


def _svg(figure: "Figure") -> bytes:
    import matplotlib

    ours = figure.get_gid() == OURS
    # Text as text takes the page's own font; a stranger's may be mathematics, which only outlines keep.
    settings = {
        "svg.hashsalt": "jaxcnn",
        "svg.fonttype": "none" if ours else "path",
        "svg.image_inline": True,
        "image.composite_image": False,
    }
    with matplotlib.rc_context():
        if ours:
            matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        svg = _saved(figure, "svg", metadata={"Date": None, "Creator": None}).decode()
    svg = re.sub(r"data:image/png;base64,([^\"]+)", lambda found: _lighter(base64.b64decode(found[1])), svg)
    return (_adapted(svg) if ours else svg).encode()


def _lighter(png: bytes) -> str:
    """Return an image as data URI: WebP if it is a photograph (large, opaque, smaller that way), else PNG."""
    from PIL import Image

    if len(png) > PHOTOGRAPH:
        image = Image.open(io.BytesIO(png)).convert("RGBA")
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, format="webp", quality=88, method=4)
        if image.getchannel("A").getextrema() == (255, 255) and buffer.tell() < len(png):
            return data_uri(buffer.getvalue(), "webp")
    return data_uri(png)


def _adapted(svg: str) -> str:
    """Return the SVG with colours that change with the reader's scheme, and with the page's fonts."""
    light = "".join(f"--c{number}:{colour};" for number, colour in enumerate(DARK))
    dark = "".join(f"--c{number}:{colour};" for number, colour in enumerate(DARK.values()))
    for number, colour in enumerate(DARK):
        svg = re.sub(rf"((?:fill|stroke): ){colour}", rf"\1var(--c{number})", svg)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", FONTS, svg)
    rules = f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    return svg.replace('<style type="text/css">', f'<style type="text/css">{rules}', 1)


def _saved(figure: "Figure", kind: str, **options: Any) -> bytes:
    from matplotlib.colors import to_rgba

    # A transparent figure gets the white paper its black ink was meant for.
    paper = "auto" if to_rgba(figure.get_facecolor())[3] > 0 else "white"
    buffer = io.BytesIO()
    with _any_letter():
        figure.savefig(buffer, format=kind, dpi=SHARP, facecolor=paper, **options)
    return buffer.getvalue()


@contextmanager
def _any_letter() -> Iterator[None]:
    """Keep quiet about letters that the measuring font lacks: the reader's browser has its own fonts."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from")
        yield
