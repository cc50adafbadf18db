"""Settings of Sphinx for `docs/build.py`, which lays out the sources."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import docstrings
import surface

project = "jaxcnn"
author = "The jaxcnn authors"
project_copyright = "The jaxcnn authors"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_heading_anchors = 3
smartquotes = False
highlight_language = "text"
html_theme = "furo"
html_title = "jaxcnn"
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
pygments_style = "tango"
pygments_dark_style = "monokai"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_use_type_comments = False
toc_object_entries = False  # a page of the reference begins with a table of its names
# Types of other libraries have no pages here.
nitpick_ignore_regex = [(r"py:.*", r"(?!jaxcnn\.).*")]


def shown(app, what, name, obj, options, lines):
    """Make reStructuredText of a docstring."""
    module = name
    while module and module not in surface.modules():
        module = module.rpartition(".")[0]
    lines[:] = docstrings.to_rst(lines, lambda text: surface.find(text, module))


def left_out(app, what, name, obj, skip, options):
    """Leave out what says nothing: the fields of named tuples, which the signature has."""
    return True if (getattr(obj, "__doc__", None) or "").startswith("Alias for field number") else None


def called(app, what, name, obj, options, signature, annotation):
    """Show functions among the defaults by their names."""
    return re.sub(r"<function (?:\w+\.)*(\w+)[^>]*>", r"\1", signature or "") or None, annotation


def public_place(app, env, node, contnode):
    """Return the link of a type in a signature, which is known by the file that defines it, or its name alone."""
    target = node.get("reftarget", "")
    public = surface.real_places().get(target)
    if public:
        domain = env.get_domain("py")
        return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", public, node, contnode)
    return contnode if target.startswith("jaxcnn.") and surface.exists(target) else None


def setup(app):
    """Connect what the pages are made with."""
    app.connect("autodoc-process-docstring", shown)
    app.connect("autodoc-process-signature", called)
    app.connect("autodoc-skip-member", left_out)
    app.connect("missing-reference", public_place)
