"""The check of a store as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from seqclass import page
from seqclass.data.store import SPLITS, Store

_PICTURES = {"classes.png": "Classes", "lengths.png": "Lengths", "composition.png": "Composition"}


def write_page(
    path: Path, store: Store, verdicts: Sequence[tuple[str, ...]], examples: Sequence[tuple[str, ...]]
) -> None:
    """Writes the page; the pictures beside it are put inside.

    Args:
        path: The file to write.
        store: What was checked.
        verdicts: Grade, what was looked at, and the finding.
        examples: Kind, two splits, two samples and how alike they are.
    """
    leaks = sum(grade == "leak" for grade, *_ in verdicts)
    heading = "No leakage was found" if not leaks else f"{leaks} kind{'s' if leaks > 1 else ''} of leakage"
    rows = "".join(
        f'<tr><td><span class="grade {grade}">{grade}</span></td>'
        f"<td>{escape(what)}</td><td>{escape(finding)}</td></tr>\n"
        for grade, what, finding in verdicts
    )
    counts = "".join(
        f'<tr><td>{split}</td><td class="number">{len(store.samples(split)):,}</td></tr>' for split in SPLITS
    )
    body = [
        f"<h1>{escape(store.path.name)}: {heading}</h1>",
        f"<table>{rows}</table>",
        f"<h2>Samples</h2><table>{counts}</table>",
    ]
    if examples:
        header = "<tr><th>kind</th><th>splits</th><th>sample</th><th>and</th><th></th></tr>"
        lines = "".join(
            f"<tr><td>{kind}</td><td>{one}, {other}</td>"
            f"<td>{escape(sample)}</td><td>{escape(twin)}</td><td>{index}</td></tr>"
            for kind, one, other, sample, twin, index in examples
        )
        body.append(f"<h2>Pairs, of which pairs.tsv lists more</h2><table>{header}{lines}</table>")
    for name, title in _PICTURES.items():
        picture = path.with_name(name)
        if picture.exists():
            body.append(f"<h2>{title}</h2>{page.picture(picture, title)}")
    page.write_page(path, store.path.name, body)
