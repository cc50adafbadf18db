"""The documentation as a site: `python docs/build.py FOLDER`, `make docs`.

Lays out the pages of this folder, README.md, CONTRIBUTING.md, CHANGELOG.md and the table of experiments, adds a page
for each public module and the table of all public names, and lets Sphinx make HTML of it. Warnings are errors.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import docstrings
import surface

ROOT = Path(__file__).resolve().parents[1]
# Files outside of docs/ that are pages, and what they are called there.
PAGES = {
    "README.md": "index.md",
    "experiments/README.md": "experiments.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def pages() -> dict[str, Path]:
    """Return the hand-written pages by their names in the site."""
    own = {path.name: path for path in sorted((ROOT / "docs").glob("*.md"))}
    return {**own, **{name: ROOT / place for place, name in PAGES.items()}}


def relinked(text: str, place: Path) -> tuple[str, set[Path]]:
    """Return a page with its relative links as they are in the site, and the files other than pages it links to."""
    names = {path: name for name, path in pages().items()}
    files: set[Path] = set()

    def link(match: re.Match) -> str:
        mark, shown, target = match.groups()
        address, hash_, anchor = target.partition("#")
        if ":" in address or not address:
            return match[0]
        path = Path(os.path.normpath(place.parent / address))
        if path in names:
            return f"{mark}[{shown}]({names[path]}{hash_}{anchor})"
        files.add(path)
        return f"{mark}[{shown}](files/{path.relative_to(ROOT)})"

    return "".join(
        part if at % 2 else _LINK.sub(link, part) for at, part in enumerate(re.split(r"(```.*?```)", text, flags=re.S))
    ), files


def order(text: str) -> list[str]:
    """Return the pages of docs/ in the order in which the README's links name them."""
    linked = [name for _, _, name in _LINK.findall(text) if (ROOT / "docs" / name).exists() and name.endswith(".md")]
    return list(dict.fromkeys(linked))


def lay_out(folder: Path) -> None:
    """Write the sources of the site."""
    for name, place in pages().items():
        text, files = relinked(place.read_text(), place)
        if name == "index.md":
            text += contents([Path(page).stem for page in order(text)])
        (folder / name).write_text(text)
        for file in files:
            copy = folder / "files" / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    (folder / "api").mkdir()
    (folder / "api" / "names.rst").write_text(table_of_names())
    for path in surface.modules():
        (folder / "api" / f"{path}.rst").write_text(module_page(path))


def contents(written: list[str]) -> str:
    """Return the tables of contents that make the side bar."""
    tops = [path for path in surface.modules() if path.count(".") < 2]
    parts = {
        "Pages": written,
        "Reference": ["api/names", *(f"api/{path}" for path in tops)],
        "Project": [Path(name).stem for name in PAGES.values() if name != "index.md"],
    }
    return "".join(
        "\n".join(["", "```{toctree}", ":hidden:", ":maxdepth: 1", f":caption: {head}", "", *entries, "```", ""])
        for head, entries in parts.items()
    )


def module_page(path: str) -> str:
    """Return the page of a public module: its docstring, a table of its names, and each of them."""
    here = [name for name in surface.names().values() if name.module == path]
    parts = [part for part in surface.modules() if part.rpartition(".")[0] == path]
    lines = [path, "=" * len(path), "", f".. automodule:: {path}", "   :no-members:", ""]
    if parts:
        lines += [*rows([(part, surface.modules()[part].__doc__ or "", path) for part in parts], modules=True), ""]
        if path != "jaxcnn":
            lines += [".. toctree::", "   :hidden:", "", *(f"   {part}" for part in parts), ""]
    if here:
        lines += [*rows([(name.full, name.doc, path) for name in here]), ""]
    for name in here:
        lines += [f".. py:currentmodule:: {path}", ""]
        if name.kind == "data":
            lines += [f".. py:data:: {name.name}", ""]
            text = docstrings.to_rst(name.doc.split("\n"), lambda text: surface.find(text, path))
            lines += [f"   {line}".rstrip() for line in text] + [""]
        else:
            lines += [f".. auto{name.kind}:: {name.name}", *["   :members:"] * (name.kind == "class"), ""]
    return "\n".join(lines) + "\n"


def table_of_names() -> str:
    """Return the page of every public name with the first line of its docstring."""
    lines = ["Every public name", "=================", ""]
    lines += ["What a table here lists is public; everything else may change without a word in the changelog.", ""]
    for path, module in surface.modules().items():
        here = [(name.full, name.doc, path) for name in surface.names().values() if name.module == path]
        said = docstrings.first_line(module.__doc__ or "", lambda text, path=path: surface.find(text, path))
        lines += [path, "-" * len(path), "", f":py:mod:`{path}`: {said}", ""]
        lines += [*rows(here), ""] if here else []
    return "\n".join(lines) + "\n"


def rows(entries: list[tuple[str, str, str]], *, modules: bool = False) -> list[str]:
    """Return a table of names, each with the first line of its docstring."""
    lines = [".. list-table::", "   :widths: 1 3", "   :class: names", ""]
    for full, doc, path in entries:
        said = docstrings.first_line(doc, lambda text, path=path: surface.find(text, path))
        role = "mod" if modules else "obj"
        lines += [f"   * - :py:{role}:`{full.rpartition('.')[2]} <{full}>`", f"     - {said}"]
    return lines


def build(folder: Path) -> int:
    """Make the site in a folder and return the exit status."""
    from sphinx.cmd.build import main

    with tempfile.TemporaryDirectory() as sources:
        lay_out(Path(sources))
        shutil.rmtree(folder, ignore_errors=True)
        options = ["--quiet", "--fail-on-warning", "--nitpicky", "--fresh-env", "--conf-dir", str(ROOT / "docs")]
        return main(["-b", "html", *options, "--doctree-dir", f"{sources}/.doctrees", sources, str(folder)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pages go; what is there is deleted")
    sys.exit(build(parser.parse_args().folder))
