"""Motifs from the attributions of many sequences: TF-MoDISco, through modisco-lite.

Shrikumar et al. 2018 (arXiv:1811.00416).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import DNA, Tokens
from seqclass.attribution.motifs import Matrix, Site, count_letters, to_ppm
from seqclass.errors import MissingPackageError, SequenceError

_FLANK = 10


class Pattern(NamedTuple):
    """A motif that recurs in attributions.

    Attributes:
        name: "positive 1" of what raises the logit, "negative 1" of what lowers it; the most frequent first.
        sites: Where it was found, each of the width of the motif.
        ppm: `(width, 4)` probabilities.
        contributions: `(width, 4)`, the mean attribution of each letter, for a logo.
    """

    name: str
    sites: list[Site]
    ppm: Matrix
    contributions: Matrix


def discover(
    tokens: Tokens,
    hypothetical: NDArray[np.floating[Any]],
    *,
    window: int = 21,
    most_seqlets: int = 2000,
    least_seqlets: int = 20,
    rounds: int = 10,
) -> list[Pattern]:
    """Clusters seqlets of attributions into motifs.

    Args:
        tokens: `(sequences, length)` of DNA without unknown bases, at least 200 bp or so: most windows should hold no
            motif, since what is salient is judged by them.
        hypothetical: `(sequences, length, 4)`: what each letter would be worth at each position, as from
            `hypothetical_contributions`. The sequence's own letters' part is what counts.
        window: Residues of a seqlet's core.
        most_seqlets: The strongest so many are clustered, of each sign.
        least_seqlets: Of a motif.
        rounds: Leiden clusterings of which the best is taken.

    Returns:
        Patterns; none where too little recurs.

    Raises:
        MissingPackageError: modisco-lite is not installed.
        SequenceError: There are unknown bases, the shapes do not fit, or the sequences are too short.
    """
    if hypothetical.shape != (*tokens.shape, 4):
        raise SequenceError(
            f"attributions of shape {hypothetical.shape} for sequences of shape {tokens.shape}",
            remedy="Give one for each of A, C, G and T at each position",
        )
    if (tokens >= 4).any():
        row = int((tokens >= 4).any(axis=1).argmax())
        raise SequenceError(f"an unknown base in sequence {row}", remedy="Leave out sequences with N")
    if tokens.shape[1] < window + 2 * _FLANK:
        raise SequenceError(
            f"sequences of {tokens.shape[1]} bp, where a seqlet with its flanks has {window + 2 * _FLANK}",
            remedy="Give longer sequences or a smaller window",
        )
    try:
        from modiscolite.tfmodisco import TFMoDISco
    except ImportError:
        raise MissingPackageError("TF-MoDISco", "modisco-lite", "motifs") from None
    found = TFMoDISco(
        one_hot=np.eye(4, dtype=np.float32)[tokens],
        hypothetical_contribs=np.asarray(hypothetical, dtype=np.float32),
        sliding_window_size=window,
        flank_size=_FLANK,
        max_seqlets_per_metacluster=most_seqlets,
        min_metacluster_size=least_seqlets,
        final_min_cluster_size=least_seqlets,
        n_leiden_runs=rounds,
    )
    own = np.eye(4)[tokens] * hypothetical
    patterns = []
    for sign, group in zip(("positive", "negative"), found, strict=True):
        ordered = sorted(group or [], key=lambda pattern: -len(pattern.seqlets))
        for number, pattern in enumerate(ordered, start=1):
            width = pattern.sequence.shape[0]
            sites = [Site(int(s.example_idx), int(s.start), 1.0, bool(s.is_revcomp)) for s in pattern.seqlets]
            parts = [own[site.sequence, site.start : site.start + width] for site in sites]
            turned = [part[::-1, ::-1] if site.reverse else part for part, site in zip(parts, sites, strict=True)]
            ppm = to_ppm(count_letters(tokens, sites, width, DNA))
            patterns.append(Pattern(f"{sign} {number}", sites, ppm, np.mean(turned, axis=0)))
    return patterns


def hypothetical_contributions(effects: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """What each letter would be worth at each position: its effect above the mean of all letters there.

    Args:
        effects: `(sequences, length, letters)`, as from `mutagenesis`, of one target.
    """
    contributions: NDArray[np.floating[Any]] = effects - effects.mean(axis=2, keepdims=True)
    return contributions
