import errno
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from jaxcnn import report

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


def page(text: str = "plain", number: object = 0.5) -> report.Page:
    figure = report.confusion(np.eye(2, dtype=int), [text, "b"])
    blocks = [
        text,
        report.Picture(figure, text, text),
        report.Table([{text: text, "n": 1, "loss": 0.25}, {"n": 20_000, "more": None}], text),
        report.Facts({text: text, "seed": 20261123}, text, folded=True),
        report.Verbatim(f"  {text}\n  two", text),
    ]
    sections = [report.Section(text, blocks), report.Section("Second", [])]
    return report.Page(text, text, [report.Number(text, text, text), report.Number("n", number)], sections, text)


class Tags(HTMLParser):
    def __init__(self, html: str):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_holds_what_it_was_given():
    html = page("plain", 20_260).html()
    words = Tags(html).words
    assert html.count("plain") == 22
    assert "20,260" in words  # a headline
    assert "20261123" in words  # a setting, literally
    assert "  plain\n  two" in words
    cells = re.findall(r"<td.*?>(.*?)</td>", html)
    assert cells == ["plain", "1", "0.25", "–", "–", "20,000", "–", "–"]


def test_every_text_is_shown_literally():
    tags = Tags(page(HOSTILE).html())
    assert {"script", "iframe", "object", "a"} & {tag for tag, _ in tags.tags} == {"a"}
    assert all(name == "name" or not name.startswith("on") for _, attrs in tags.tags for name in attrs)
    images = [attrs for tag, attrs in tags.tags if tag == "img"]
    assert [image["alt"] for image in images] == [HOSTILE]
    assert "".join(tags.words).count(HOSTILE) == 19


def test_nothing_is_loaded():
    tags = Tags(page().html()).tags
    addresses = [attrs[name] for _, attrs in tags for name in ("src", "href", "srcset") if name in attrs]
    assert len(addresses) == 4  # icon, two entries of the contents, one picture
    assert all(address.startswith(("data:", "#")) for address in addresses)
    (policy,) = [attrs["content"] for _, attrs in tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    assert "url(" not in page().html()
    assert "@import" not in page().html()


def test_the_page_can_be_found_ones_way_in():
    tags = Tags(page().html()).tags
    assert ("html", {"lang": "en"}) in tags
    assert [tag for tag, _ in tags if re.fullmatch("h[1-6]", tag)] == ["h1", "h2", "h2"]
    targets = [attrs["href"].removeprefix("#") for tag, attrs in tags if tag == "a"]
    assert targets == [attrs["id"] for tag, attrs in tags if tag == "section"]
    single = report.Page("one", sections=[report.Section("alone", [])])
    assert "nav" not in {tag for tag, _ in Tags(single.html()).tags}


@pytest.mark.slow
def test_the_same_page_is_the_same_bytes_in_another_process(tmp_path):
    code = (
        "import numpy as np; from jaxcnn import report as r\n"
        "f = r.confusion(np.eye(3, dtype=int)); g = r.image_grid(np.zeros((2, 4, 4)))\n"
        "r.Page('t', sections=[r.Section('s', [r.Picture(f, '', 'f'), r.Picture(g, '', 'g')])]).write({!r})"
    )
    here, there = str(tmp_path / "here.html"), str(tmp_path / "there.html")
    exec(code.format(here))
    environment = os.environ | {"PYTHONHASHSEED": "1", "JAX_PLATFORMS": "cpu", "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", code.format(there)], check=True, env=environment)
    with open(here, "rb") as one, open(there, "rb") as other:
        assert one.read() == other.read()


def test_a_page_can_be_written_twice():
    same = page()
    assert same.html() == same.html()


def test_write_makes_the_folder_and_leaves_nothing_else(tmp_path):
    path = page().write(tmp_path / "runs" / "one" / "report.html")
    assert path.read_text(encoding="utf-8") == page().html()
    assert os.listdir(path.parent) == ["report.html"]


@pytest.mark.parametrize("moment", ["render", "write", "replace"])
def test_write_leaves_the_old_page_when_it_fails(tmp_path, monkeypatch, moment):
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(*_):
        raise OSError(errno.ENOSPC, "full")

    class Unspeakable:
        __str__ = fail

    if moment != "render":
        monkeypatch.setattr(os, {"write": "fsync", "replace": "replace"}[moment], fail)
    with pytest.raises(OSError, match="full"):
        page(number=Unspeakable() if moment == "render" else 1).write(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.html"]


def test_a_path_that_is_not_unicode_is_still_written(tmp_path):
    assert b"runs/?" in page("runs/\udcff").write(tmp_path / "report.html").read_bytes()


def test_a_page_refuses_blocks_it_does_not_know():
    with pytest.raises(TypeError, match=r"Page: expected blocks it knows, got Figure\. Wrap it in Picture"):
        report.Page("t", sections=[report.Section("s", [report.confusion(np.eye(2))])]).html()


def test_a_picture_needs_words_for_those_who_cannot_see_it():
    with pytest.raises(ValueError, match="Picture: expected an alt text, got ' '"):
        report.Picture(report.confusion(np.eye(2)), "caption", " ")


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_a_missing_package_is_named_with_the_cure(package, monkeypatch):
    whole = page()
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ImportError, match=rf'jaxcnn.report: expected {package} to be installed.*pip install "jaxcnn\[viz\]"'
    ):
        report.confusion(np.eye(2)) if package == "matplotlib" else whole.html()


@pytest.mark.slow
def test_importing_loads_neither_matplotlib_nor_jinja():
    code = "import sys, jaxcnn.report; print({'matplotlib', 'jinja2', 'PIL'} & set(sys.modules))"
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
