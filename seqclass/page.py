"""One HTML page that needs nothing else: its style and its pictures are inside. Readable by night and on paper."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

_STYLE = """
:root { color-scheme: light dark; --text: #222; --paper: #fff; --faint: #666; --line: #ddd; }
@media (prefers-color-scheme: dark) { :root { --text: #ddd; --paper: #181a1b; --faint: #999; --line: #444; } }
@media print { :root { --text: #000; --paper: #fff; --faint: #555; --line: #bbb; } h2 { break-after: avoid; }
  img, tr { break-inside: avoid; } details > :not(summary) { display: block; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: var(--text); background: var(--paper); overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.wide { overflow-x: auto; width: max-content; max-width: min(100vw - 2rem, 50vw + 27rem); }
table { border-collapse: collapse; overflow-wrap: normal; }
td, th { padding: .3rem .8rem .3rem 0; text-align: left; vertical-align: top; }
th { border-bottom: 1px solid var(--line); vertical-align: bottom; } th.number, td.number { text-align: right; }
th.number { min-width: 4rem; } td:first-child { min-width: 7rem; }
td.number { white-space: nowrap; font-variant-numeric: tabular-nums; }
td small, p small { color: var(--faint); } img { max-width: 100%; background: #fff; border-radius: .3rem; }
pre { white-space: pre-wrap; font-size: .8rem; }
.grade { display: inline-block; min-width: 3.2rem; text-align: center; border-radius: .3rem; padding: 0 .4rem; }
.leak { background: #D55E00; color: #fff; } .note { background: #F0E442; color: #222; }
.ok { background: #009E73; color: #fff; }
"""


def write_page(path: Path, title: str, body: Iterable[str]) -> None:
    """Writes a page.

    Args:
        path: The file to write.
        title: As text.
        body: Pieces of HTML.
    """
    path.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><body>{''.join(body)}</body></html>\n",
        encoding="utf-8",
    )


def picture(path: Path, title: str) -> str:
    """A PNG as part of a page."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{escape(title)}" src="data:image/png;base64,{data}">'


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of text, of which all but the first column is set to the right."""

    def line(tag: str, cells: Sequence[str]) -> str:
        kinds = ["", *[' class="number"'] * (len(cells) - 1)]
        inner = "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))
        return f"<tr>{inner}</tr>\n"

    return f'<div class="wide"><table>{line("th", header)}{"".join(line("td", row) for row in rows)}</table></div>'
