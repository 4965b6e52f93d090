"""Simulated beta-lactamases and proteins that are none, in the tables of the AMRFinderPlus catalogue and of hydrolases.

A class of beta-lactamases descends from one ancestor, a family from one of the class, and its alleles from that. Some
hydrolases descend from a class's ancestor too, further away: homologues that are no beta-lactamases. All others have
ancestors of their own, and lengths that differ more.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seqclass.alphabets import PROTEIN, Tokens
from seqclass.atomic import atomic_folder, check_free
from seqclass.data.seeds import seeded_generator
from seqclass.data.simulate.amino_acids import random_residues, substitution_probabilities
from seqclass.data.simulate.writing import write_table
from seqclass.errors import SourceError

_CLASSES = {"A": 290, "B": 250, "C": 380, "D": 275}
# From a class's ancestor to a homologue, to a family's, and from there to an allele, in substitutions a site.
_HOMOLOGUE, _FAMILY, _ALLELE = 0.9, 0.4, 0.03
_SHORTEST, _LONGEST, _TRIMMED = 80, 900, 12
_MARK = "beta_lactamases.tsv"
_README = """\
Simulated beta-lactamases: {families} families of each of the classes A, B, C and D, {alleles} alleles a family.

beta_lactamases.tsv            accession, gene, family, ambler_class, sequence
hydrolases.tsv                 accession, ec_number, sequence; of EC 3.4.16.4 are homologues of beta-lactamases
other_resistance_proteins.tsv  accession, gene, family, sequence

    seqclass data negatives beta_lactamases.tsv --from hydrolases.tsv other_resistance_proteins.tsv --out beta.tsv \\
        --label ambler_class --group family ec_number --homologues
    seqclass data import table beta.tsv --alphabet protein --labels ambler_class --group group --out beta.h5
"""


def simulate_beta_lactamases(
    out: str | Path, *, families: int = 4, alleles: int = 6, seed: int = 0, force: bool = False
) -> Path:
    """Writes a folder with beta-lactamases of four Ambler classes, and hydrolases and other proteins that are none.

    Args:
        out: The folder to write.
        families: Of each class; as many proteins of no class, of either table, as of all classes together, and one
            homologue a class and family.
        alleles: Of each family.
        seed: Decides everything: equal arguments give equal files.
        force: Replace what stands at `out`, if it is empty or such a folder.

    Returns:
        The folder.

    Raises:
        SourceError: There are no families or alleles, or the seed is negative.
        OutputExistsError: Something stands at `out` and `force` is false.
        SeqclassError: What stands there is of another kind.
    """
    if min(families, alleles) < 1:
        raise SourceError(f"{families} families of {alleles} alleles", remedy="Take at least one of each")
    check_free(out, force, holding=_MARK)
    generator = seeded_generator(seed)
    lactamases: list[tuple[str, ...]] = []
    hydrolases: list[tuple[str, ...]] = []
    others: list[tuple[str, ...]] = []
    for name, length in _CLASSES.items():
        ancestor = random_residues(length, generator)
        for number in range(1, families + 1):
            family, founder = f"bla{name}X{number}", _evolved(ancestor, _FAMILY, generator)
            for allele in range(1, alleles + 1):
                letters = _letters(_evolved(founder, _ALLELE, generator), generator)
                lactamases.append((f"BL{len(lactamases):05d}.1", f"{family}-{allele}", family, name, letters))
            homologue = _letters(_evolved(ancestor, _HOMOLOGUE, generator), generator)
            hydrolases.append((f"HY{len(hydrolases):05d}", "3.4.16.4", homologue))
    for number in range(len(lactamases)):
        letters, more = (
            PROTEIN.decode(random_residues(int(generator.integers(_SHORTEST, _LONGEST)), generator)) for _ in range(2)
        )
        hydrolases.append((f"HY{len(hydrolases):05d}", f"3.1.{number // alleles}.1", letters))
        others.append((f"RP{number:05d}.1", f"res{number}", f"res{number // alleles}", more))

    with atomic_folder(out, force=force, holding=_MARK) as folder:
        write_table(folder / _MARK, ("accession", "gene", "family", "ambler_class", "sequence"), lactamases)
        write_table(folder / "hydrolases.tsv", ("accession", "ec_number", "sequence"), hydrolases)
        columns = ("accession", "gene", "family", "sequence")
        write_table(folder / "other_resistance_proteins.tsv", columns, others)
        (folder / "README.txt").write_text(_README.format(families=families, alleles=alleles), encoding="utf-8")
    return Path(out)


def _evolved(ancestor: Tokens, time: float, generator: np.random.Generator) -> Tokens:
    """A descendant after so many substitutions a site."""
    below = substitution_probabilities(np.array([time]))[0].cumsum(axis=1)[ancestor]
    drawn = (generator.random((len(ancestor), 1)) > below).sum(axis=1)
    # By rounding, the last probabilities may add up to a little less than 1.
    descendant: Tokens = np.minimum(drawn, len(PROTEIN.letters) - 1).astype(np.uint8)
    return descendant


def _letters(protein: Tokens, generator: np.random.Generator) -> str:
    """The letters, fewer by some at either end."""
    head, tail = generator.integers(0, _TRIMMED, 2).tolist()
    return PROTEIN.decode(protein[head : len(protein) - tail])
