"""Annotation beside saliency: genes, motifs or domains from a BED or GFF file, as a track of labelled arrows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from matplotlib.axes import Axes
from matplotlib.patches import Polygon

from seqclass.attribution.plot_style import DARK, WIDTHS, Width
from seqclass.data.fasta import open_maybe_gzip
from seqclass.data.intervals import Region
from seqclass.errors import IntervalError

_LABELS = ("Name", "gene", "gene_name", "Note", "ID")


class Feature(NamedTuple):
    """Something known of a stretch, in residues of the plotted sequence, 0-based half-open.

    Attributes:
        start: Its first residue; negative where it begins before the sequence.
        end: Behind its last.
        label: Its name, "" for none.
        strand: 1, -1, or 0 where it has none.
    """

    start: int
    end: int
    label: str
    strand: int = 0


def read_features(path: str | Path, region: Region, types: Sequence[str] | None = None) -> list[Feature]:
    """Features that overlap a region, in their order in a BED, GFF or GTF file, plain or gzip.

    Args:
        path: The file; a name that ends in .gff, .gff3 or .gtf (and .gz) says GFF, all others BED.
        region: What is plotted; the features' coordinates count from its start.
        types: Of a GFF file, which types (column 3) are kept; all by default.

    Raises:
        IntervalError: A line has too few columns, or coordinates that are no numbers or reversed.
        SequenceError: The file is missing, or its compression is damaged.
    """
    is_gff = any(suffix.lower() in (".gff", ".gff3", ".gtf") for suffix in Path(path).suffixes[-2:])
    features = []
    with open_maybe_gzip(path) as stream:
        for number, raw in enumerate(stream, start=1):
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            if is_gff and line.startswith("##FASTA"):
                break
            if not line.strip() or line.startswith(("#", "track", "browser")):
                continue
            columns = line.split("\t") if is_gff or "\t" in line else line.split()
            try:
                start, end = (int(columns[3]) - 1, int(columns[4])) if is_gff else (int(columns[1]), int(columns[2]))
                if start >= end or start < 0:
                    raise ValueError
            except (IndexError, ValueError):
                kind = "GFF (start and end in columns 4 and 5)" if is_gff else "BED (start and end in columns 2 and 3)"
                raise IntervalError(
                    f"{line[:60]!r} is no interval", remedy=f"Give {kind}, start before end", file=path, record=number
                ) from None
            here = columns[0] == region.chrom and end > region.start and (region.end is None or start < region.end)
            if not here or (is_gff and types is not None and columns[2] not in types):
                continue
            strand, name = (6, _label(columns[8]) if len(columns) > 8 else "") if is_gff else (5, "".join(columns[3:4]))
            sign = {"+": 1, "-": -1}.get("".join(columns[strand : strand + 1]), 0)
            features.append(Feature(start - region.start, end - region.start, name, sign))
    return features


def _label(attributes: str) -> str:
    """A feature's name among the attributes of GFF3 (`key=value`) or GTF (`key "value"`)."""
    found = {}
    for part in attributes.split(";"):
        key, _, value = part.strip().partition("=" if "=" in part else " ")
        found[key] = unquote(value.strip().strip('"'))
    return next((found[key] for key in _LABELS if found.get(key)), "")


class Placed(NamedTuple):
    """A feature cut to the plotted sequence, the row that it is drawn in, and whether its label fits inside."""

    start: int
    end: int
    feature: Feature
    row: int
    holds_label: bool


def arrange(features: Sequence[Feature], length: int, width: Width) -> list[Placed]:
    """Puts features on a sequence of `length` residues into rows in which they and their labels stay apart."""
    # A letter of 6 points is about .045 inches wide, and an axis about five sixths of the picture.
    letter = 0.055 * length / WIDTHS[width]
    taken: list[float] = []
    placed = []
    for feature in sorted(features):
        start, end = max(0, feature.start), min(length, feature.end)
        if start < end:
            fits = end - start >= letter * (len(feature.label) + 1)
            row = next((row for row, until in enumerate(taken) if until <= start), len(taken))
            taken[row : row + 1] = [end if fits else end + letter * (len(feature.label) + 2)]
            placed.append(Placed(start, end, feature, row, fits))
    return placed


def draw_features(axes: Axes, placed: Sequence[Placed], first: int, length: int) -> None:
    """Draws features as bars that point along their strand, with their labels.

    Args:
        axes: Where.
        placed: As from `arrange`.
        first: Coordinate of the first residue.
        length: Number of residues of the plotted sequence.
    """
    for start, end, feature, row, holds_label in placed:
        left, right = first + start - 0.5, first + end - 0.5
        tip = min(end - start, 0.012 * length)
        # What goes on beyond the picture has its tip there.
        back = left + (tip if feature.strand < 0 and feature.start >= 0 else 0)
        front = right - (tip if feature.strand > 0 and feature.end <= length else 0)
        corners = [(left, 0), (back, 0.3), (front, 0.3), (right, 0), (front, -0.3), (back, -0.3)]
        axes.add_patch(Polygon([(x, y - row) for x, y in corners], facecolor="#CFE6F5", edgecolor=DARK, linewidth=0.4))
        place = (left + right) / 2 if holds_label else right + 0.01 * length
        axes.text(
            place,
            -row,
            feature.label,
            ha="center" if holds_label else "left",
            va="center_baseline",
            fontsize=6,
            clip_on=True,
        )
    axes.set_ylim(-0.5 - max(each.row for each in placed), 0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
