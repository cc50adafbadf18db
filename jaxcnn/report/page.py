"""One self-contained HTML page: headline numbers and sections of pictures, tables, facts and text.

The page is a value that knows nothing of training: any experiment can write one. It loads nothing, runs no
script, shows every text literally, and is the same bytes for the same content.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from jaxcnn.checking import expect, installed
from jaxcnn.report.embed import embed
from jaxcnn.report.values import column, shown
from jaxcnn.whole_file import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Facts", "Link", "Links", "Number", "Page", "Picture", "Section", "Table", "Verbatim"]

NEAR = re.compile(r"[A-Za-z0-9_./-]+(#[A-Za-z0-9_-]+)?")  # the address of a page beside or below this one


@dataclass(frozen=True)
class Number:
    """A headline number: what it is, its value with the unit, and a note (of what, how sure)."""

    label: str
    value: object
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure with the caption below it and the text that stands for it where it cannot be seen.

    Pictures that follow each other stand side by side where the screen is wide enough.
    """

    figure: "Figure"
    caption: str
    alt: str

    def __post_init__(self):
        fix = "Say in a sentence what the figure shows."
        expect(bool(self.alt.strip()), "Picture", "an alt text", repr(self.alt), fix)


@dataclass(frozen=True)
class Table:
    """Rows as mappings from column to value; the columns are all keys in the order they appear."""

    rows: Sequence[Mapping[str, object]]
    caption: str = ""
    folded: bool = False

    def columns(self) -> list[tuple[str, list[str], bool]]:
        """Return for each column its name, its cells as text, and whether all of them are numbers."""
        names = dict.fromkeys(key for row in self.rows for key in row)
        return [(name, *column([row.get(name) for row in self.rows])) for name in names]


@dataclass(frozen=True)
class Facts:
    """Names and values: a configuration, the versions."""

    pairs: Mapping[str, object]
    caption: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Verbatim:
    """Text whose line breaks and columns matter: a net's summary, a command."""

    text: str
    caption: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Link:
    """A way to another page of the same site: its relative address, what is read there, and a line below it.

    Raises:
        ValueError: an address that leads elsewhere.
    """

    address: str
    title: str
    text: str = ""

    def __post_init__(self):
        ok = isinstance(self.address, str) and NEAR.fullmatch(self.address) and not self.address.startswith("/")
        expect(bool(ok), "Link", "a relative address of plain letters", repr(self.address), 'Pass "pooling.html", say.')


@dataclass(frozen=True)
class Links:
    """A list of links."""

    entries: Sequence[Link]
    caption: str = ""
    folded: bool = False


Block = str | Picture | Table | Facts | Verbatim | Links


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it; a plain string is a paragraph."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A report: title, headline numbers, sections.

    Args:
        title: what the page is about.
        subtitle: one line below it.
        headline: the few numbers a reader looks for first.
        sections: the body; more than one make a table of contents.
        footer: a line at the end.
        up: the page that this one belongs to, linked above the title.
    """

    title: str
    subtitle: str = ""
    headline: Sequence[Number] = ()
    sections: Sequence[Section] = ()
    footer: str = ""
    up: Link | None = None

    def html(self) -> str:
        """Return the page as HTML.

        Raises:
            ImportError: jinja2 or matplotlib is not installed.
            TypeError: a block of another kind.
        """
        with installed("jaxcnn.report", "jinja2", 'pip install "jaxcnn[viz]"'):
            from jinja2 import Environment, StrictUndefined
        environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        environment.filters["shown"] = shown
        source = files("jaxcnn.report").joinpath("page.html.jinja").read_text(encoding="utf-8")
        return environment.from_string(source).render(page=self, embed=embed, kind_of=_kind)

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the page whole or not at all, making its folder if needed, and return where it is.

        Raises:
            ImportError: jinja2 or matplotlib is not installed.
            TypeError: a block of another kind.
            OSError: the file cannot be written, or the disk is full.
        """
        path = Path(path)
        data = self.html().encode("utf-8", errors="replace")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole("Page.write", path, data)
        return path


def _kind(block: Block) -> str:
    """Return the name of a block's kind, by which the template chooses its form."""
    for kind in (str, Picture, Table, Facts, Verbatim, Links):
        if isinstance(block, kind):
            return kind.__name__
    raise TypeError(
        f"Page: expected blocks it knows, got {type(block).__name__}. Wrap it in Picture, Table or Facts, say."
    )
