"""The map of a region's saturation mutagenesis: position by base, coloured by what the substitution does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from seqclass.alphabets import DNA
from seqclass.atomic import atomic_file
from seqclass.targets import Target
from seqclass.variants.edits import Row
from seqclass.variants.effects import Effects
from seqclass.variants.region import RegionSubstitutions

_LETTERS_UP_TO = 120


class RegionMap:
    """Gathers the effects on a region and draws them: a panel a target, blue where a substitution lowers it.

    Args:
        region: The source of the rows.
        targets: Of the model.
        columns: The targets drawn; none for the one that is affected most.

    Attributes:
        delta_logit: `(length, 4, targets)`; 0 for the genome's own base, NaN where that is N.
    """

    def __init__(self, region: RegionSubstitutions, targets: Sequence[Target], columns: Sequence[int] = ()) -> None:
        self._region, self._targets, self._columns = region, targets, list(columns)
        known = region.bases != DNA.unknown_token
        self.delta_logit = np.where(known[:, None, None], 0.0, np.nan) * np.ones((1, len(DNA.letters), len(targets)))

    def write(self, rows: Sequence[Row], scores: Effects) -> None:
        """Takes over the effects of rows."""
        for row, effect in zip(rows, scores.delta_logit, strict=True):
            _, position, _, alt = row.labels
            self.delta_logit[int(position) - 1 - self._region.start, DNA.letters.index(str(alt))] = effect

    def draw(self, path: str | Path, *, force: bool = False) -> None:
        """Draws the map into a file whose ending says the format (png, svg, pdf).

        Raises:
            OutputExistsError: Something stands at `path` and `force` is false.
        """
        region, letters = self._region, DNA.decode(self._region.bases)
        columns = self._columns or [int(np.nanmax(np.abs(self.delta_logit), axis=(0, 1)).argmax())]
        figure = Figure(figsize=(7.2, 0.7 + 1.1 * len(columns)), layout="constrained", dpi=200)
        axes = figure.subplots(len(columns), 1, squeeze=False)[:, 0]
        for axis, column in zip(axes, columns, strict=True):
            effect = self.delta_logit[:, :, column].T
            size = max(float(np.nanmax(np.abs(effect))), 1e-9)
            image = axis.imshow(
                effect,
                cmap="RdBu_r",
                norm=TwoSlopeNorm(0, -size, size),
                aspect="auto",
                interpolation="nearest",
                extent=(region.start + 0.5, region.end + 0.5, len(DNA.letters) - 0.5, -0.5),
            )
            axis.set_facecolor("#dddddd")
            axis.set_yticks(range(len(DNA.letters)), list(DNA.letters))
            axis.set_title(self._targets[column].name, fontsize=8, parse_math=False)
            axis.tick_params(labelsize=7)
            axis.ticklabel_format(axis="x", useOffset=False, style="plain")
            if len(letters) <= _LETTERS_UP_TO:
                for offset, letter in enumerate(letters):
                    if letter in DNA.letters:
                        place = region.start + offset + 1
                        axis.plot(place, DNA.letters.index(letter), marker="s", markersize=1.2, color="#333333")
            bar = figure.colorbar(image, ax=axis, pad=0.01)
            bar.set_label("delta logit", fontsize=7)
            bar.ax.tick_params(labelsize=6)
        own = " (squares: the genome's base)" if len(letters) <= _LETTERS_UP_TO else ""
        axes[-1].set_xlabel(f"position on {region.chrom} (bp, from 1){own}", fontsize=8)
        with atomic_file(path, force=force) as partial:
            figure.savefig(partial)
