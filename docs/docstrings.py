"""From the plain text of jaxcnn's docstrings to reStructuredText that shows the same characters.

A docstring has paragraphs, lists of "- ", equations and code, and the sections Args, Returns, Raises and Source.
Equations stay plain text; names in backticks that are public become links.
"""

import ast
import re
import textwrap
from collections.abc import Callable

SECTIONS = {"Args": "Arguments", "Returns": "Returns", "Raises": "Raises", "Source": "Source"}
_HEAD = re.compile(rf"({'|'.join(SECTIONS)}):(?: +(.*))?$")
_ITEM = re.compile(r"- ")
_ENTRY = re.compile(r"([\w*., ]+?): (.*)$")
_WORD = re.compile(r"(?<![\w(\[{.])[a-z]{3,}(?![\w(\[.{])")
_EQUALS = re.compile(r" (=|<-|\+=|~) ")
Link = Callable[[str], str | None]


def to_rst(lines: list[str], link: Link) -> list[str]:
    """Return the lines of a docstring as reStructuredText.

    Args:
        lines: as `inspect.getdoc` gives them.
        link: from what stands in backticks to the full name of a public object, or None.
    """
    found = []
    for name, body in _sections(lines):
        if name is None:
            found += _blocks(body, link)
            continue
        found += [f":{SECTIONS[name]}:"]
        entries = name in ("Args", "Raises") and _entries(body)
        inside = _listed(entries, link) if entries else _blocks(body, link)
        found += [*textwrap.indent("\n".join(inside), "    ").split("\n"), ""]
    return found


def first_line(text: str, link: Link) -> str:
    """Return the first paragraph of a docstring as one line of reStructuredText."""
    return inline(" ".join(text.split("\n\n")[0].split()), link)


def inline(text: str, link: Link) -> str:
    """Return running text with what stands in backticks as code, and no other character with a meaning."""
    parts = re.split(r"`([^`]+)`", text)
    for at, part in enumerate(parts):
        if at % 2 == 0:
            parts[at] = re.sub(r"([\\*_|`<>])", r"\\\1", part).replace("::", r":\:")
            continue
        target = link(part)
        parts[at] = f":py:obj:`{part} <{target}>`" if target else f"``{part}``"
        # Markup ends at a space or punctuation; "\ " is a space that is not shown.
        parts[at] = rf"\ {parts[at]}\ "
    # A paragraph that begins with a number, a letter or a dash is no list.
    return re.sub(r"^(\(?\w+)([.)] )", r"\1\\\2", "".join(parts).removeprefix(r"\ "))


def code_of(paragraph: str) -> str | None:
    """Return the language of a paragraph that is code or an equation, "python" or "text", or None of a sentence."""
    plain = textwrap.dedent(paragraph)
    try:
        nodes = list(ast.walk(ast.parse(plain)))
    except SyntaxError:
        nodes = []
    if any(isinstance(node, ast.Call | ast.Assign | ast.Import | ast.ImportFrom) for node in nodes):
        return "python"
    if plain != paragraph:
        return "text"
    first = plain.split("\n")[0]
    return "text" if _EQUALS.search(first) and "`" not in plain and len(_WORD.findall(plain)) < 3 else None


def _sections(lines: list[str]) -> list[tuple[str | None, list[str]]]:
    found: list[tuple[str | None, list[str]]] = [(None, [])]
    for line in lines:
        head = _HEAD.match(line)
        if head:
            found.append((head[1], [head[2]] if head[2] else []))
        else:
            found[-1][1].append(line)
    return [(name, textwrap.dedent("\n".join(body)).split("\n") if name else body) for name, body in found]


def _entries(lines: list[str]) -> list[tuple[str, str]]:
    """Return ("name, other", "what they are") of each entry of a section; [] where it is running text."""
    found: list[list[str]] = []
    for line in lines:
        if not line.strip():
            continue
        entry = _ENTRY.match(line)
        if entry and not line.startswith(" "):
            found.append([entry[1], entry[2]])
        elif line.startswith(" ") and found:
            found[-1][1] += " " + line.strip()
        else:
            return []
    return [(name, text) for name, text in found]


def _listed(entries: list[tuple[str, str]], link: Link) -> list[str]:
    return [f"- **{inline(name, lambda _: None)}**: {inline(text, link)}" for name, text in entries]


def _blocks(lines: list[str], link: Link) -> list[str]:
    found = []
    for paragraph in re.split(r"\n[ \t]*\n", "\n".join(lines).strip("\n")):
        if not paragraph.strip():
            continue
        language = code_of(paragraph)
        if language:
            code = textwrap.indent(textwrap.dedent(paragraph), "    ")
            found += [f".. code-block:: {language}", "", *code.split("\n"), ""]
            continue
        for text in _items(paragraph):
            item = _ITEM.match(text)
            found += [f"- {inline(text[2:], link)}" if item else inline(text, link), ""]
    return found


def _items(paragraph: str) -> list[str]:
    """Return the paragraph's running text and the items of its list, a line each."""
    found: list[str] = []
    for line in paragraph.split("\n"):
        if not found or _ITEM.match(line):
            found.append(line.strip())
        else:
            found[-1] += " " + line.strip()
    return found
