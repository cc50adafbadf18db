"""What an annotation in Pascal VOC's form says: an XML file that a stranger made."""

import math
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

__all__ = ["Object", "objects_in"]

MOST_BYTES = 2**20  # of an annotation; an object takes some 300
SIDES = ("xmin", "ymin", "xmax", "ymax")

Object = tuple[str, tuple[float, float, float, float]]
"""The name of a class, and x0, y0, x1, y1 in pixels."""


def objects_in(file: bytes) -> list[Object]:
    """Return class and box of each object of an annotation.

    VOC counts pixels from 1 and the last one in: there xmin 1 and xmax 3 are the first three pixels, here [0, 3].
    Difficult and truncated objects are objects as the others are.

    Args:
        file: the bytes of an XML file.

    Raises:
        ValueError: it is no such file, or would do harm; the message says what is wrong.

    Source: Everingham et al. 2010 and its development kit, section "Annotation".
    """
    if len(file) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES:,} bytes")
    text = file.decode("utf-8-sig")
    if "<!DOCTYPE" in text:  # entities, which may be each other's multiples or files, are declared there alone
        raise ValueError("a document type, of which annotations have none")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"no XML: {error}") from error
    if root.tag != "annotation":
        raise ValueError(f"a <{root.tag[:40]}> instead of an <annotation>")
    return [_object(entry) for entry in root.findall("object")]


def _object(entry: ElementTree.Element) -> Object:
    name = _read(entry, "name", str.strip)
    box = entry.find("bndbox")
    if box is None:
        raise ValueError(f"an object {name[:40]!r} without <bndbox>")
    x0, y0, x1, y1 = (_read(box, side, float) for side in SIDES)
    if not all(map(math.isfinite, (x0, y0, x1, y1))):
        raise ValueError(f"a box ({x0}, {y0}, {x1}, {y1}) that is not finite")
    if x1 < x0 or y1 < y0:
        raise ValueError(f"an inverted box ({x0:g}, {y0:g}, {x1:g}, {y1:g})")
    return name, (x0 - 1, y0 - 1, x1, y1)


def _read(entry: ElementTree.Element, tag: str, read: Callable[[str], Any]) -> Any:
    text = (entry.findtext(tag) or "").strip()
    try:
        return read(text) if text else _missing(tag)
    except ValueError as error:
        raise ValueError(f"<{tag}> {text[:40]!r} in <{entry.tag}>") from error


def _missing(tag: str) -> None:
    raise ValueError(f"no <{tag}>")
