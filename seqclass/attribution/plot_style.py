"""How pictures look: sizes that fit a printed column or page, fonts that can be read there, colours that all can tell.

Everything that draws takes sizes and colours from here. Colours are Okabe and Ito's (https://jfly.uni-koeln.de/color/),
and the map from against to for is ColorBrewer's RdBu, which the colour-blind can read as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from seqclass.alphabets import DNA, PROTEIN, Alphabet
from seqclass.atomic import atomic_file
from seqclass.errors import SeqclassError

Width = Literal["column", "page"]

# Inches of one and of two columns of a journal: 89 and 183 mm.
WIDTHS: dict[Width, float] = {"column": 3.5, "page": 7.2}

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
YELLOW, GREY, DARK = "#F0E442", "#999999", "#333333"

FOR, AGAINST, MARK = BLUE, GREY, YELLOW
SIGNED_MAP = "RdBu_r"

_RESIDUES = {"DE": VERMILION, "KRH": BLUE, "STNQ": GREEN, "CGP": ORANGE, "AVILMFWY": DARK}
LETTERS: dict[Alphabet, dict[str, str]] = {
    DNA: {"A": GREEN, "C": BLUE, "G": ORANGE, "T": VERMILION},
    PROTEIN: {letter: colour for letters, colour in _RESIDUES.items() for letter in letters},
}

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Arial", "Helvetica", "Liberation Sans", "DejaVu Sans"],
    "font.size": 7,
    "axes.titlesize": 8,
    "figure.titlesize": 8,
    "axes.labelsize": 7,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "legend.fontsize": 6,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    # No sign in a name means mathematics.
    "text.parse_math": False,
    # Text stays text in a PDF or SVG, so that it can be edited and searched.
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "savefig.dpi": 300,
    # The same numbers give the same file.
    "svg.hashsalt": "seqclass",
}


@contextmanager
def drawing(path: str | Path, width: Width, height: float, *, force: bool = False) -> Iterator[Figure]:
    """Yields an empty figure in the house style, which is written to a file afterwards, whole or not at all.

    Args:
        path: Ends in the format: .png, .svg or .pdf.
        width: "column" or "page".
        height: In inches.
        force: Replace what stands at `path`.

    Raises:
        SeqclassError: The file's ending names no such format.
        OutputExistsError: Something stands at `path` and `force` is false.
    """
    if Path(path).suffix.lower() not in (".png", ".svg", ".pdf"):
        raise SeqclassError(
            "the name's ending says no format of pictures", remedy="Let it end in .png, .svg or .pdf", file=path
        )
    with rc_context(_STYLE), atomic_file(path, force=force) as partial:
        figure = Figure(figsize=(WIDTHS[width], height), layout="constrained")
        yield figure
        dated = {".svg": "Date", ".pdf": "CreationDate"}.get(partial.suffix.lower())
        figure.savefig(partial, metadata={dated: None} if dated else None)


def number_positions(axes: Axes, first: int, length: int, width: Width) -> None:
    """Makes the axis hold `length` positions, the first of which is number `first`, and numbers some of them."""
    axes.set_xlim(first - 0.5, first + length - 0.5)
    # Numbers of many digits need room.
    most = int((1 if width == "column" else 2.2) * 50 / (4 + len(f"{first + length:,}")))
    axes.xaxis.set_major_locator(MaxNLocator(most, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
