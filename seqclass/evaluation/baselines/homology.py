"""Baselines by alignment, with HMMER through pyhmmer: the best-scoring training sequence, and a profile of each class.

- phmmer: every sample is searched for among the training sequences (Eddy 2011,
  https://doi.org/10.1371/journal.pcbi.1002195). A class scores as its best hit does, in bits.
- Family HMMs: the members of a class in train are aligned to the model of one of them, the medoid, and the profile
  that is built from this alignment scores every sample. This is one round of what jackhmmer does. Published HMM
  baselines on Pfam are built from curated seed alignments, which are not in the sequences.

What has no hit at an E-value of 10 ranks below every hit, by prevalence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from seqclass.alphabets import PROTEIN
from seqclass.data.sampling import cut
from seqclass.data.similarity import kmer_sets
from seqclass.data.store import Indices, Store
from seqclass.data.tape import read_samples
from seqclass.errors import EvaluationError, MissingPackageError, find_name
from seqclass.evaluation.multilabel import Baseline
from seqclass.progress import track

if TYPE_CHECKING:
    import pyhmmer

EVALUE = 10.0
"""Above which a hit does not count, HMMER's own default."""

IDENTITY_EVALUE, MIN_COVERAGE = 1e-3, 0.8

NAMES = ("phmmer", "family_hmm")

MAX_MEMBERS = 500
"""More members of a class are subsampled for its profile: 500 are more than most curated alignments have."""

_MEDOID_K = 3
_MAX_RESIDUES = 100_000
_RESIDUES_AT_ONCE = 1 << 20

Scores = NDArray[np.float32]
Floats = NDArray[np.float64]


class Homology(NamedTuple):
    """What alignment to the training sequences says of some samples.

    Attributes:
        baselines: By name.
        identity: `(samples,)`, the share of identical residues in the alignment with the nearest training sequence, NaN
            where there is none: the best-scoring one of which an aligned region covers at least 80 % of the sample,
            at an E-value up to 0.001. Over all columns of that region, gaps among them. None without phmmer.
    """

    baselines: dict[str, Baseline]
    identity: Floats | None


def compute_homology(store: Store, samples: Indices, names: Sequence[str] = NAMES, *, seed: int = 0) -> Homology:
    """Scores samples by alignment to all training sequences.

    Args:
        store: Proteins, with training samples.
        samples: Indices of the samples to score.
        names: "phmmer", "family_hmm" or both. 20,000 domains against 30,000 take phmmer half an hour on two cores.
        seed: Of which members a family's profile is built from, where there are too many.

    Raises:
        EvaluationError: The store holds no proteins or no training samples, or a sequence is longer than HMMER takes.
        MissingPackageError: pyhmmer is not installed.
        UnknownNameError: There is no such baseline.
    """
    names = [find_name("baseline", name, NAMES) for name in names]
    if store.vector_size or store.alphabet is not PROTEIN:
        held = "vectors" if store.vector_size else store.alphabet.name.upper()
        raise EvaluationError(
            f"alignment compares proteins, and this store holds {held}", file=store.path, remedy="Leave it out"
        )
    train = store.samples("train")
    if not len(train):
        raise EvaluationError(
            "there are no train samples to align to", file=store.path, remedy="Import with a training split"
        )
    positives, known, _ = store.label_counts("train")
    prevalence = (positives / np.maximum(known, 1)).astype(np.float32)
    settings = {"train_samples": len(train), "evalue": EVALUE, "pyhmmer": _pyhmmer().__version__, "score": "bits"}
    baselines, identity = {}, None
    if "phmmer" in names:
        bits, identity = _best_hits(store, train, samples)
        baselines["phmmer"] = Baseline(_below_hits(bits, prevalence), settings)
    if "family_hmm" in names:
        bits = _profile_hits(store, train, samples, seed)
        settings = settings | {"max_members": MAX_MEMBERS, "seed": seed}
        baselines["family_hmm"] = Baseline(_below_hits(bits, prevalence), settings)
    return Homology(baselines, identity)


def _best_hits(store: Store, train: Indices, samples: Indices) -> tuple[Scores, Floats]:
    """Bits of each target's best hit in train, -inf without one, and identities, both of phmmer."""
    hmmer = _pyhmmer()
    database = hmmer.easel.DigitalSequenceBlock(_amino(), sequences(store, train))
    queries = sequences(store, samples)
    labels = store.labels(train)
    best = np.full((len(samples), store.num_targets), -np.inf, dtype=np.float32)
    identity = np.full(len(samples), np.nan)
    found = hmmer.hmmer.phmmer(queries, database, E=EVALUE)
    for query, hits in track(zip(queries, found, strict=True), "Searching with phmmer", len(queries), "samples"):
        row = int(query.name)
        if len(hits):
            carried = labels[[int(hit.name) for hit in hits]] > 0
            bits = np.array([hit.score for hit in hits], dtype=np.float32)[:, None]
            best[row] = np.where(carried, bits, -np.inf).max(axis=0)
        identity[row] = _identity(hits, len(query))
    return best, identity


def _identity(hits: Iterable[Any], length: int) -> float:
    """To the first of some hits, best first, that covers enough of a query of this length; else NaN."""
    for hit in hits:
        if hit.evalue > IDENTITY_EVALUE:
            break
        for domain in hit.domains:
            alignment = domain.alignment
            if alignment.hmm_to - alignment.hmm_from + 1 >= MIN_COVERAGE * length:
                ours, theirs = alignment.hmm_sequence.upper(), alignment.target_sequence.upper()
                return float(np.mean([one == other for one, other in zip(ours, theirs, strict=True)]))
    return float("nan")


def _profile_hits(store: Store, train: Indices, samples: Indices, seed: int) -> Scores:
    """Bits of each target's profile HMM, -inf without a hit."""
    hmmer = _pyhmmer()
    database = hmmer.easel.DigitalSequenceBlock(_amino(), sequences(store, samples))
    labels = store.labels(train)
    generator = np.random.default_rng(seed)
    best = np.full((len(samples), store.num_targets), -np.inf, dtype=np.float32)
    for target in track(range(store.num_targets), "Searching with family HMMs", store.num_targets, "targets"):
        members = train[labels[:, target] > 0]
        if len(members) > MAX_MEMBERS:
            members = np.sort(generator.choice(members, MAX_MEMBERS, replace=False))
        profile = family_hmm(store, members)
        if profile is not None:
            for hits in hmmer.hmmer.hmmsearch([profile], database, E=EVALUE):
                for hit in hits:
                    best[int(hit.name), target] = hit.score
    return best


def family_hmm(store: Store, members: Indices) -> pyhmmer.plan7.HMM[Any] | None:
    """The profile HMM of some sequences, aligned to the model of their medoid; None where none has residues.

    The medoid is the one with the largest sum of Jaccard indices of 3-mers to the others.

    Args:
        store: Proteins.
        members: Indices of its samples.
    """
    hmmer = _pyhmmer()
    family = sequences(store, members)
    if not family:
        return None
    alphabet = _amino()
    builder, background = hmmer.plan7.Builder(alphabet), hmmer.plan7.Background(alphabet)
    central = members[[int(sequence.name) for sequence in family]]
    profile: pyhmmer.plan7.HMM[Any] = builder.build(family[_medoid(store, central)], background)[0]
    if len(family) > 1:
        alignment = hmmer.hmmer.hmmalign(profile, family, digitize=True, all_consensus_cols=True)
        alignment.name = profile.name
        profile = builder.build_msa(alignment, background)[0]
    return profile


def sequences(store: Store, samples: Indices) -> list[pyhmmer.easel.DigitalSequence]:
    """Samples as HMMER takes them, named by their place in `samples`; those without residues are left out.

    Raises:
        MissingPackageError: pyhmmer is not installed.
        EvaluationError: A sequence is longer than HMMER takes.
    """
    hmmer = _pyhmmer()
    alphabet = _amino()
    lengths = store.views.length[samples]
    if (lengths > _MAX_RESIDUES).any():
        longest = int(lengths.argmax())
        raise EvaluationError(
            f"'{store.names(samples[[longest]])[0]}' has {lengths[longest]:,} residues, and HMMER takes at most "
            f"{_MAX_RESIDUES:,}",
            file=store.path,
            remedy="Leave the homology baselines out, or import shorter sequences",
        )
    out = []
    bounds = cut(lengths, _RESIDUES_AT_ONCE, 1 << 12)
    for begin, end in pairwise(bounds.tolist()):
        rows, _ = read_samples(store, samples[begin:end])
        for place, (row, length) in enumerate(zip(rows, lengths[begin:end].tolist(), strict=True), start=begin):
            if length:
                text = store.alphabet.decode(row[:length])
                out.append(hmmer.easel.TextSequence(name=str(place), sequence=text).digitize(alphabet))
    return out


def _medoid(store: Store, members: Indices) -> int:
    sets = kmer_sets(store, members, _MEDOID_K)
    vocabulary = np.unique(sets.kmers)
    if not len(vocabulary):
        return 0
    matrix = sets.matrix(vocabulary)
    shared = (matrix @ matrix.T).toarray()
    either = sets.sizes[:, None] + sets.sizes - shared
    return int((shared / np.maximum(either, 1)).sum(axis=1).argmax())


def _below_hits(best: Scores, prevalence: NDArray[np.float32]) -> Scores:
    """Puts what has no hit, -inf, below the worst of all hits, by prevalence."""
    lowest = min(0.0, float(best.min(where=np.isfinite(best), initial=0.0)))
    filled: Scores = np.where(np.isfinite(best), best, lowest - 1 + prevalence).astype(np.float32)
    return filled


@cache
def _amino() -> Any:
    # A model refers to its alphabet without keeping it alive.
    return _pyhmmer().easel.Alphabet.amino()


def _pyhmmer() -> Any:
    try:
        import pyhmmer
    except ImportError:
        raise MissingPackageError("This baseline", "pyhmmer", "homology") from None
    return pyhmmer
