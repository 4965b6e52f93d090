"""Markdown pages as tests read them: code blocks with what is said before them, headings' anchors, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[1]
SHELL, PYTHON = "bash", "python"
_COMMENT = re.compile(r"<!-- (?P<word>not run|prints)(?:: (?P<reason>[^>]+))? -->")


@dataclass(frozen=True)
class Block:
    """A code block of a page.

    Attributes:
        page: Path of the page below the root of the repository.
        line: Where the block's code begins, from 1.
        language: What the fence says; an indented block is of the shell.
        code: The text.
        not_run: Why it cannot be run, where the page says so in a comment before it.
        printed: What it prints, where the page shows it in the block after it.
    """

    page: str
    line: int
    language: str
    code: str
    not_run: str | None = None
    printed: str | None = None

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def find_pages() -> list[Path]:
    """Every Markdown page of the repository, README first."""
    hidden = {".venv", "_build", "runs", ".git", ".pytest_cache", ".hypothesis"}
    pages = [path for path in ROOT.rglob("*.md") if not hidden & set(path.relative_to(ROOT).parts)]
    return sorted(pages, key=lambda path: (path != ROOT / "README.md", path))


def read_blocks(path: Path) -> list[Block]:
    """The code blocks of a page, in order; one that shows what the one before prints is a part of that."""
    page = str(path.relative_to(ROOT))
    blocks: list[Block] = []
    said: re.Match[str] | None = None
    for token in _tokens(path):
        if token.type == "html_block":
            said = _COMMENT.fullmatch(token.content.strip())
        elif token.type in ("fence", "code_block"):
            assert token.map is not None
            language = token.info.strip() if token.type == "fence" else SHELL
            line = token.map[0] + (2 if token.type == "fence" else 1)
            block = Block(page, line, language, token.content, said["reason"] if said else None)
            if said and said["word"] == "prints":
                last = blocks.pop()
                block = Block(last.page, last.line, last.language, last.code, last.not_run, token.content)
            blocks.append(block)
            said = None
        elif token.nesting >= 0:
            said = None
    return blocks


def read_anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    tokens = _tokens(path)
    headings = [tokens[i + 1].children or [] for i, token in enumerate(tokens) if token.type == "heading_open"]
    found: set[str] = set()
    for children in headings:
        text = "".join(child.content for child in children if child.type in ("text", "code_inline"))
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        number = 1
        while slug in found:
            slug, number = f"{slug.removesuffix(f'-{number - 1}')}-{number}", number + 1
        found.add(slug)
    return found


def read_links(path: Path) -> Iterator[tuple[int, str]]:
    """Line (from 1) and target of each link and picture of a page."""
    for token in _tokens(path):
        line = token.map[0] + 1 if token.map else 0
        for child in token.children or []:
            if child.type == "link_open":
                yield line, str(child.attrs["href"])
            elif child.type == "image":
                yield line, str(child.attrs["src"])
        if token.type == "html_block":
            for target in re.findall(r'(?:src|srcset|href)="([^"]+)"', token.content):
                yield line, target


def read_code_spans(path: Path) -> Iterator[tuple[int, str]]:
    """Line (from 1) and text of what stands between backticks in a page's sentences and tables."""
    for token in _tokens(path):
        for child in token.children or []:
            if child.type == "code_inline":
                yield token.map[0] + 1 if token.map else 0, child.content


def _tokens(path: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))
