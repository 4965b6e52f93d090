"""How Sphinx builds these pages: `make docs`."""

import os
import re
from functools import partial
from pathlib import Path

import seqclass

project = "seqclass"
author = "the seqclass developers"
copyright = author
version = release = seqclass.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
default_role = "code"
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["wide.css"]
html_title = f"seqclass {release}"
html_theme_options = {"navigation_with_keys": True}

myst_enable_extensions = ["linkify"]
myst_linkify_fuzzy_links = False  # README.md is no site of Moldova
myst_heading_anchors = 4
highlight_language = "bash"  # of indented blocks
# Headings of included pages begin at a level of their own; classes may have attributes of one name.
suppress_warnings = ["myst.header", "ref.python"]

autosummary_generate = True
autosummary_ignore_module_all = True
autodoc_default_options = {"show-inheritance": True}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
napoleon_use_ivar = True

# Pages that lie elsewhere in the repository, where GitHub shows them, by the name of the page here that shows them.
HERE = Path(__file__).parent
ELSEWHERE = {
    "changelog": HERE.parent / "CHANGELOG.md",
    "contributing": HERE.parent / "CONTRIBUTING.md",
    "experiments": HERE.parent / "experiments" / "README.md",
}


def show_pages_from_elsewhere(app, docname, source):
    """Shows the text of pages that lie elsewhere, and makes links lead where they lead on GitHub."""
    page = ELSEWHERE.get(docname, HERE / f"{docname}.md")
    if page.suffix == ".md" and page.exists():
        source[0] = re.sub(r"\[([^]]*)\]\(([^):#]+)(#[^)]*)?\)", partial(moved, page.parent), page.read_text("utf-8"))


def moved(folder, link):
    """A link of a page in that folder, as it has to be in a page here."""
    text, path, anchor = link[1], (folder / link[2]).resolve(), link[3] or ""
    names = {target.resolve(): f"{name}.md" for name, target in ELSEWHERE.items()}
    if path.is_dir():
        return text
    return f"[{text}]({names.get(path) or os.path.relpath(path, HERE)}{anchor})"


def mark_literal_blocks(app, what, name, obj, options, lines):
    """Docstrings are read as text too: what they indent is shown as it stands, and `Word`s is a word in code font."""
    marked = []
    for number, line in enumerate(lines):
        before = next((each for each in reversed(lines[:number]) if each.strip()), " ")
        if line.startswith("    ") and not before.startswith(" ") and not lines[number - 1].strip():
            marked += [".. code-block:: text", ""]
        marked.append(line if line.startswith("    ") else re.sub(r"`([\w.]+)`(\w)", r"`\1`\\ \2", line))
    lines[:] = marked


def setup(app):
    app.connect("source-read", show_pages_from_elsewhere)
    app.connect("autodoc-process-docstring", mark_literal_blocks, priority=400)  # before napoleon
