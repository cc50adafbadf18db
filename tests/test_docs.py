"""The pages: every link leads somewhere, as plain files and as a site, which has every public name."""

import ast
import functools
import html.parser
import importlib.util
import inspect
import re
import subprocess
import sys
import textwrap
import urllib.parse
from collections import Counter
from pathlib import Path

import pytest

from tests.browser import browser, visit  # noqa: F401 - a fixture

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "experiments/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
OPENED = ["index", "ten-minutes", "coming-from", "gallery", "experiments", "api/names", "api/jaxcnn.functional"]
FILES = {".json", ".md", ".py"}
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```", re.DOTALL)


# Plain files


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    seen, found = Counter(), set()
    for heading in re.findall(r"^#+ (.*)$", CODE.sub("", page.read_text()), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        found.add(slug if not seen[slug] else f"{slug}-{seen[slug]}")
        seen[slug] += 1
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_the_files(page):
    for link in LINK.findall(CODE.sub("", page.read_text())):
        address, _, anchor = link.partition("#")
        if re.match(r"\w+:", address):
            continue
        target = page.parent / address if address else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_leads_to_every_page():
    linked = set(LINK.findall((ROOT / "README.md").read_text()))
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= linked


def test_names_in_the_pages_are_public(surface):
    known = {name.removeprefix("jaxcnn.") for name in surface.names()}
    modules = {name.removeprefix("jaxcnn.") for name in surface.modules()}
    starts = "|".join(sorted(name for name in modules - {"jaxcnn"} if "." not in name))
    wrong = {}
    for page in PAGES:
        text = CODE.sub("", page.read_text())
        for name in re.findall(rf"`(?:jaxcnn\.)?((?:{starts})\.\w+(?:\.\w+)*)[`(]", text):
            if name not in known | modules and name.rpartition(".")[0] not in known and Path(name).suffix not in FILES:
                wrong.setdefault(page.name, []).append(name)
    assert not wrong


# The public surface and its docstrings


@pytest.fixture(scope="module")
def surface():
    return module_of("surface")


@functools.cache
def module_of(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_every_public_name_says_what_it_is(surface):
    assert len(surface.names()) > 500
    assert not [name.full for name in surface.names().values() if not name.doc]
    assert not [path for path, module in surface.modules().items() if not module.__doc__]


def test_names_in_docstrings_are_found(surface):
    assert surface.find("functional.conv", "jaxcnn.layers") == "jaxcnn.functional.conv"
    assert surface.find("Conv", "jaxcnn.layers") == "jaxcnn.layers.Conv"
    assert surface.find("training.fit", "jaxcnn") == "jaxcnn.training.fit"
    assert surface.find("x", "jaxcnn.functional") is None
    assert surface.find("losses", "jaxcnn.training") is None  # a field there, whatever else is called so


def test_docstrings_keep_every_character():
    to_rst = functools.partial(module_of("docstrings").to_rst, link={"fit": "jaxcnn.training.fit"}.get)
    assert to_rst(["Return a*b* |c| of `x`, a_ and `fit`."]) == [
        r"Return a\*b\* \|c\| of \ ``x``\ , a\_ and \ :py:obj:`fit <jaxcnn.training.fit>`\ .",
        "",
    ]
    equation = ["y[i] = sum_u x[i s + u]", "       kernel[u]"]
    assert to_rst(equation) == [".. code-block:: text", "", *(f"    {line}" for line in equation), ""]
    assert to_rst(["net = fit(x)"])[0] == ".. code-block:: python"
    entries = to_rst(["Args:", "    a, b: numbers,", "        of any size.", "    *rest: others."])
    assert entries == [":Arguments:", "    - **a, b**: numbers, of any size.", r"    - **\*rest**: others.", ""]
    assert to_rst(["Source: Lin 2014."]) == [":Source:", "    Lin 2014.", "", ""]


def docstring_examples(surface):
    """Return the blocks of code in public docstrings, by place, each with the module in which it stands."""
    code_of, found = module_of("docstrings").code_of, {}
    said = {path: (path, module.__doc__) for path, module in surface.modules().items()}
    said |= {full: (name.module, name.doc) for full, name in surface.names().items()}
    for place, (module, doc) in said.items():
        blocks = [textwrap.dedent(block) for block in re.split(r"\n[ \t]*\n", doc) if code_of(block) == "python"]
        # An equation says what an entry is: f(x)[n] = g(x[n]).
        found[place] = module, [block for block in blocks if not is_equation(ast.parse(block))]
    return found


def test_examples_in_docstrings_call_what_there_is(surface):
    """Every call of a public name in them has arguments that the name takes."""
    checked = 0
    for place, (module, blocks) in docstring_examples(surface).items():
        trees = [ast.parse(block) for block in blocks]
        also = {}
        for tree in trees:
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom):
                    also |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        for tree in trees:
            for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
                first, _, rest = ast.unparse(call.func).partition(".")
                name = surface.find(f"{also.get(first, first)}.{rest}".rstrip("."), module)
                if name in surface.names() and not any(isinstance(arg, ast.Starred) for arg in call.args):
                    signature = inspect.signature(surface.names()[name].value)
                    named = {word.arg: None for word in call.keywords}
                    bind = signature.bind_partial if named.pop(None, 0) is None else signature.bind
                    try:
                        bind(*call.args, **named)
                    except TypeError as error:
                        raise AssertionError(f"{place}: {ast.unparse(call)}: {error}") from None
                    checked += 1
    assert checked > 60


def is_equation(tree: ast.Module) -> bool:
    targets = [node.targets[0] for node in tree.body if isinstance(node, ast.Assign)]
    alone = len(tree.body) == 1
    return any(isinstance(target, ast.Subscript) or (alone and ast.unparse(target) == "y") for target in targets)


# The site


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("sphinx", reason="sphinx is not installed")
    folder = tmp_path_factory.mktemp("site") / "html"
    command = [sys.executable, str(ROOT / "docs" / "build.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr  # no warning of Sphinx
    return folder


class Links(html.parser.HTMLParser):
    """What a page links to or loads, and the places in it that others may link to."""

    def __init__(self, page: Path):
        super().__init__()
        self.targets, self.places = [], set()
        self.feed(page.read_text())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.targets += [attrs[name] for name in ("href", "src") if attrs.get(name)]
        self.places |= {attrs[name] for name in ("id", "name") if attrs.get(name)}


@pytest.fixture(scope="module")
def links(site):
    return {page: Links(page) for page in sorted(site.rglob("*.html"))}


def test_no_link_of_the_site_is_dead(links):
    dead = []
    for page, found in links.items():
        for target in found.targets:
            url = urllib.parse.urlsplit(target)
            if url.scheme:
                continue
            file = (page.parent / urllib.parse.unquote(url.path)).resolve() if url.path else page
            missing = url.fragment and file in links and url.fragment not in links[file].places
            if missing or not file.exists():
                dead.append((page.name, target))
    assert not dead


def test_nothing_is_loaded_from_elsewhere(site, links):
    for page in links:
        loaded = re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"((?:https?:)?//[^\"]+)", page.read_text())
        assert not loaded, page.name
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"url\(['\"]?(?:https?:)?//|@import", sheet.read_text()), sheet.name


def test_every_public_name_has_an_entry(site, links, surface):
    table = links[site / "api" / "names.html"]
    for name in surface.names().values():
        assert name.full in links[site / "api" / f"{name.module}.html"].places
        assert f"{name.module}.html#{name.full}" in table.targets


@pytest.mark.parametrize("width", [1280, 375])
@pytest.mark.parametrize("page", OPENED)
def test_pages_open_in_a_browser(browser, site, page, width):  # noqa: F811
    with visit(browser, site / f"{page}.html", width=width, scripts=True) as seen:
        assert seen.page.locator("h1").count() == 1
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        assert seen.page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        seen.expect_quiet()
