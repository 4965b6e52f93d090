"""How Sphinx builds these pages: `make docs`."""

import re

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
html_title = f"seqclass {release}"
html_theme_options = {"navigation_with_keys": True}

myst_enable_extensions = ["linkify"]
myst_heading_anchors = 4
highlight_language = "bash"  # of indented blocks
suppress_warnings = ["myst.header"]  # the changelog begins at its own second level

autosummary_generate = True
autosummary_ignore_module_all = True
autodoc_default_options = {"show-inheritance": True}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
napoleon_use_ivar = True

# Pages that lie elsewhere in the repository, where GitHub shows them, and the page here that includes each.
ELSEWHERE = {"../CHANGELOG.md": "changelog.md", "../CONTRIBUTING.md": "contributing.md"}
ELSEWHERE |= {"../experiments/README.md": "experiments.md"}


def lead_to_pages(app, docname, source):
    """Links to pages that lie elsewhere lead to the pages here that include them."""
    for path, page in ELSEWHERE.items():
        source[0] = source[0].replace(f"]({path}", f"]({page}")


def mark_literal_blocks(app, what, name, obj, options, lines):
    """Docstrings are read as text too: what they indent is shown as it stands, and `Word`s is a word in code font."""
    marked = []
    for number, line in enumerate(lines):
        before = next((each for each in reversed(lines[:number]) if each.strip()), " ")
        if line.startswith("    ") and not before.startswith(" ") and not lines[number - 1].strip():
            marked += ["::", ""]
        marked.append(line if line.startswith("    ") else re.sub(r"`([\w.]+)`(\w)", r"`\1`\\ \2", line))
    lines[:] = marked


def setup(app):
    app.connect("source-read", lead_to_pages)
    app.connect("autodoc-process-docstring", mark_literal_blocks, priority=400)  # before napoleon
