"""Pictures of a store: how large its classes are, how long its samples, what they are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator
from numpy.typing import NDArray

from seqclass.data.store import SPLITS, Store
from seqclass.picture import one_plot, short

# Okabe and Ito's colours, told apart by the colour-blind (https://jfly.uni-koeln.de/color/).
COLOURS = {"train": "#0072B2", "valid": "#E69F00", "test": "#009E73"}

# So many classes have room for their names.
_NAMED = 30


def plot_classes(path: Path, store: Store) -> None:
    """How many samples of each split carry each target: bars with names, or for many a curve by rank."""
    counts = {split: store.positives(split) for split in SPLITS if len(store.samples(split))}
    order = np.argsort(-sum(counts.values()), kind="stable")
    few = len(order) <= _NAMED
    with one_plot(path, height=max(2.2, 0.9 + 0.26 * len(order)) if few else 3.6) as axes:
        if few:
            left = np.zeros(len(order))
            for split, count in counts.items():
                axes.barh(np.arange(len(order)), count[order], left=left, color=COLOURS[split], label=split)
                left += count[order]
            axes.set_yticks(np.arange(len(order)), [short(store.targets[i].name) for i in order])
            for name in axes.get_yticklabels():
                name.set_parse_math(False)
            axes.invert_yaxis()
            axes.set_xlabel("samples")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        else:
            edges = np.arange(len(order) + 1)
            for split, count in counts.items():
                # Each in its own order: points of three splits in one order hide each other.
                shown = np.maximum(np.sort(count)[::-1], 0.5)
                # Valid and test are often alike, so that the one shows through the gaps of the other.
                style = "--" if split == "test" else "-"
                axes.stairs(shown, edges, baseline=None, color=COLOURS[split], label=split, lw=1.6, ls=style)
            axes.set_yscale("log")
            tens = 10.0 ** np.arange(np.ceil(np.log10(max(map(np.max, counts.values())) + 1)))
            axes.set_yticks([0.5, *tens])
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else "none"))
            axes.set_xlim(0, len(order))
            axes.set_xlabel(f"{len(order):,} targets, the most frequent of each split first")
            axes.set_ylabel("samples")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_title("Samples of each target", loc="left")
        # Above: bars or curves may reach anywhere.
        axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(counts), borderaxespad=0.2)


def plot_lengths(path: Path, store: Store) -> None:
    """The distribution of sample lengths in each split, as shares so that small splits can be compared."""
    lengths = store.views.length
    low, high = int(lengths.min()), int(lengths.max())
    with one_plot(path) as axes:
        if low == high:
            edges = np.array([low - 0.5, low + 0.5])
        else:
            edges = np.unique(np.geomspace(low, high + 1, 50).round())
        for split in SPLITS:
            mine = lengths[store.samples(split)]
            if len(mine):
                share = np.histogram(mine, edges)[0] / len(mine)
                axes.stairs(
                    share, edges, color=COLOURS[split], label=f"{split} (median {np.median(mine):,.0f})", lw=1.6
                )
        if high > 10 * low:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g}%"))
        axes.set_ylim(bottom=0)
        axes.set_xlabel(f"length ({store.alphabet.unit})")
        axes.set_ylabel("share of samples")
        axes.set_title("Lengths", loc="left")
        axes.legend(frameon=False)


def plot_composition(path: Path, store: Store, counts: NDArray[np.float64]) -> None:
    """The share of each letter in each split, from counts `(splits, letters + 1)`."""
    letters = store.alphabet.letters + store.alphabet.unknown
    there = [part for part in range(len(SPLITS)) if counts[part].any()]
    with one_plot(path) as axes:
        width = 0.8 / max(1, len(there))
        for place, part in enumerate(there):
            share = counts[part] / counts[part].sum()
            offset = (place - (len(there) - 1) / 2) * width
            axes.bar(np.arange(len(letters)) + offset, share, width, color=COLOURS[SPLITS[part]], label=SPLITS[part])
        axes.set_xticks(np.arange(len(letters)), list(letters))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g}%"))
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.set_ylabel("share of residues")
        axes.set_title("Composition", loc="left")
        axes.legend(frameon=False)
