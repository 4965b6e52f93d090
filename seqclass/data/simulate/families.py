"""Simulated protein families, each evolved from one ancestor along a tree, in the layout of the Pfam seed split.

A family's tree joins its members at random; its inner nodes lie between a fifth of the depth and the depth, so no two
members are near-copies, as in a Pfam seed. Along a branch residues are substituted (BLOSUM62 odds as exchange rates,
sites at gamma-distributed rates: Yang, J. Mol. Evol. 39, 306-314, 1994) and stretches of geometric length are inserted
and deleted. The true alignment is known, since every residue keeps its column.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import gamma

from seqclass.alphabets import PROTEIN, Tokens
from seqclass.atomic import atomic_folder, check_free
from seqclass.data.seeds import seeded_generator
from seqclass.data.simulate.amino_acids import random_residues, substitution_probabilities
from seqclass.data.simulate.writing import write_fasta, write_table
from seqclass.errors import SourceError
from seqclass.progress import track

_MARK = "ancestors.fasta"
_COLUMNS = ("family_id", "sequence_name", "family_accession", "aligned_sequence", "sequence")
_FILES = {"train": 4, "dev": 2, "test": 2}
_HELD_OUT = 0.1
_MEDIAN_LENGTH, _LENGTH_SPREAD, _SHORTEST, _LONGEST = 120, 0.4, 40, 500
_MEAN_INDEL = 2.5
_YOUNGEST_NODE = 0.2
_RATES, _RATE_SHAPE = 4, 1.0
_README = """\
Simulated protein families: {families} of {members} members each.

random_split/{{train,dev,test}}/data-0000k-of-0000n
                  comma-separated, as the Pfam seed split on Kaggle: {columns}
trees/PFxxxxx.nwk each family's true tree (Newick); leaves are sequence names, inner nodes N0 (the root), N1, ...;
                  branch lengths in expected substitutions a site
ancestors.fasta   the sequences of the inner nodes, aligned to the family: PFxxxxx/N0 ...

    seqclass data import pfam random_split --out pfam.h5
"""

Columns = NDArray[np.int64]


def simulate_pfam(
    out: str | Path,
    *,
    families: int = 20,
    members: int = 40,
    depth: float = 0.8,
    indels: float = 0.02,
    seed: int = 0,
    force: bool = False,
) -> Path:
    """Writes a folder with protein families in the Pfam seed split's layout, their trees and their ancestors.

    The folder holds `random_split/{train,dev,test}/data-0000k-of-0000n`, a tenth of each family in dev and in test;
    `trees/`, one Newick file a family; `ancestors.fasta`, aligned; and `README.txt`.

    Args:
        out: The folder to write.
        families: How many, PF00001 and on; each has a root of its own, of 40 to 500 residues.
        members: Of each family.
        depth: From the root to each member, in expected substitutions a site. Two members lie between 0.4 and 2 times
            as far apart; at 3 and more, families can hardly be told.
        indels: Insertions and deletions a residue, for each substitution a site; of 2.5 residues in the mean.
        seed: Decides everything: equal arguments give equal files.
        force: Replace what stands at `out`, if it is empty or such a folder.

    Returns:
        The folder.

    Raises:
        SourceError: There are too few families or members, a rate is out of range, or the seed negative.
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: What stands there is of another kind.
    """
    if not 1 <= families <= 99_999 or members < 3:
        raise SourceError(
            f"{families} families of {members} members cannot be split in three",
            remedy="Take 1 to 99999 families of at least 3 members",
        )
    if not (0 < depth <= 10 and 0 <= indels <= 0.5):
        raise SourceError(
            f"depth {depth} and indels {indels} are out of range",
            remedy="Choose a depth above 0 and up to 10, and indels from 0 to 0.5",
        )
    check_free(out, force, holding=_MARK)
    generator = seeded_generator(seed)
    rows: dict[str, list[tuple[str, ...]]] = {name: [] for name in _FILES}
    ancestors: list[tuple[str, str]] = []
    with atomic_folder(out, force=force, holding=_MARK) as folder:
        (folder / "trees").mkdir()
        for number in track(range(1, families + 1), "Evolving families", families, "families"):
            accession = f"PF{number:05d}"
            version = generator.integers(1, 30)
            tree = _random_tree(members, depth, generator)
            aligned = _evolve(tree, indels, generator)
            names = [f"N{2 * members - 2 - node}" for node in range(2 * members - 1)]
            for leaf in range(members):
                first = generator.integers(1, 500)
                length = len(aligned[leaf].replace(".", ""))
                names[leaf] = f"S{number:05d}X{leaf + 1:05d}_SIM/{first}-{first + length - 1}"
            held_out = max(1, round(members * _HELD_OUT))
            splits = ["dev"] * held_out + ["test"] * held_out + ["train"] * (members - 2 * held_out)
            for leaf, split in zip(generator.permutation(members).tolist(), splits, strict=True):
                row = (f"Fam{number}", names[leaf], f"{accession}.{version}", aligned[leaf])
                rows[split].append((*row, aligned[leaf].replace(".", "")))
            ancestors += [(f"{accession}/{names[n]}", aligned[n]) for n in reversed(range(members, len(tree)))]
            (folder / "trees" / f"{accession}.nwk").write_text(_newick(tree, names), encoding="ascii")
        for split, records in rows.items():
            _write_split(folder / "random_split" / split, records, _FILES[split], generator)
        write_fasta(folder / _MARK, ancestors)
        text = _README.format(families=families, members=members, columns=", ".join(_COLUMNS))
        (folder / "README.txt").write_text(text, encoding="ascii")
    return Path(out)


class _Node(NamedTuple):
    """A node of a tree: how far above the leaves it lies, and its children as indices (empty: a leaf)."""

    height: float
    children: tuple[int, ...] = ()


def _random_tree(members: int, depth: float, generator: np.random.Generator) -> list[_Node]:
    """Leaves first, then inner nodes from the youngest to the root: children stand before their parents."""
    nodes = [_Node(0.0)] * members
    open_ends = list(range(members))
    heights = np.sort(generator.uniform(_YOUNGEST_NODE * depth, depth, members - 1))
    heights[-1] = depth
    for height in heights.tolist():
        pair = [open_ends.pop(generator.integers(len(open_ends))) for _ in range(2)]
        open_ends.append(len(nodes))
        nodes.append(_Node(height, tuple(pair)))
    return nodes


def _newick(tree: list[_Node], names: list[str]) -> str:
    texts = list(names)
    for index, node in enumerate(tree):
        if node.children:
            inner = ",".join(f"{texts[child]}:{node.height - tree[child].height:.6f}" for child in node.children)
            texts[index] = f"({inner}){names[index]}"
    return texts[-1] + ";\n"


class _Sequence(NamedTuple):
    """Residues, and the columns of the family's alignment in which they stand."""

    tokens: Tokens
    columns: Columns


class _Alignment:
    """The columns of a family: each is made once, right behind another, and evolves at a rate of its own."""

    def __init__(self) -> None:
        self.rates: list[int] = []
        self._behind = {-1: -1}

    def insert(self, after: int, rates: list[int]) -> Columns:
        """New columns of these rate categories behind column `after` (-1: at the begin)."""
        made = list(range(len(self.rates), len(self.rates) + len(rates)))
        self.rates += rates
        for left, right in zip([after, *made], [*made, self._behind[after]], strict=True):
            self._behind[left] = right
        return np.array(made, dtype=np.int64)

    def order(self) -> list[int]:
        """All columns from left to right."""
        order = []
        column = self._behind[-1]
        while column >= 0:
            order.append(column)
            column = self._behind[column]
        return order


def _evolve(tree: list[_Node], indels: float, generator: np.random.Generator) -> list[str]:
    """The aligned letters of all nodes, '.' for a gap."""
    shape = generator.lognormal(np.log(_MEDIAN_LENGTH), _LENGTH_SPREAD)
    length = int(np.clip(shape, _SHORTEST, _LONGEST))
    alignment = _Alignment()
    columns = alignment.insert(-1, generator.integers(_RATES, size=length).tolist())
    sequences = [_Sequence(random_residues(length, generator), columns)] * len(tree)
    for index in reversed(range(len(tree))):
        for child in tree[index].children:
            time = tree[index].height - tree[child].height
            sequences[child] = _along_branch(sequences[index], time, indels, alignment, generator)

    order = alignment.order()
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    aligned = []
    for sequence in sequences:
        row = np.full(len(order), ord("."), dtype=np.uint8)
        row[place[sequence.columns]] = np.frombuffer(PROTEIN.decode(sequence.tokens).encode(), dtype=np.uint8)
        aligned.append(row.tobytes().decode())
    return aligned


def _along_branch(
    sequence: _Sequence, time: float, indels: float, alignment: _Alignment, generator: np.random.Generator
) -> _Sequence:
    tokens, columns = sequence
    steps = np.cumsum(substitution_probabilities(_rate_categories() * time), axis=2)
    steps = steps[np.array(alignment.rates)[columns], tokens, :-1]
    tokens = (generator.random((len(tokens), 1)) >= steps).sum(axis=1, dtype=np.uint8)
    for is_insertion in (generator.random(generator.poisson(indels * time * len(tokens))) < 0.5).tolist():
        span = int(generator.geometric(1 / _MEAN_INDEL))
        if is_insertion:
            at = int(generator.integers(len(tokens) + 1))
            after = int(columns[at - 1]) if at else -1
            made = alignment.insert(after, generator.integers(_RATES, size=span).tolist())
            tokens = np.insert(tokens, at, random_residues(span, generator))
            columns = np.insert(columns, at, made)
        elif len(tokens) - span >= _SHORTEST // 2:
            at = int(generator.integers(len(tokens) - span + 1))
            tokens = np.delete(tokens, np.s_[at : at + span])
            columns = np.delete(columns, np.s_[at : at + span])
    return _Sequence(tokens, columns)


def _rate_categories() -> NDArray[np.float64]:
    """Equally probable rates of sites, with mean 1, that stand for a gamma distribution."""
    rates = gamma.ppf((np.arange(_RATES) + 0.5) / _RATES, _RATE_SHAPE)
    relative: NDArray[np.float64] = rates / rates.mean()
    return relative


def _write_split(folder: Path, records: list[tuple[str, ...]], files: int, generator: np.random.Generator) -> None:
    folder.mkdir(parents=True)
    parts = np.array_split(generator.permutation(len(records)), min(files, len(records)))
    for number, part in enumerate(parts):
        path = folder / f"data-{number:05d}-of-{len(parts):05d}"
        write_table(path, _COLUMNS, [records[index] for index in part.tolist()], delimiter=",")
