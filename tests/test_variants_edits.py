"""Alleles in their least form, and the windows around them, against plain string work."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqclass.alphabets import DNA
from seqclass.data.genome import Genome
from seqclass.errors import SequenceError
from seqclass.variants.edits import Edit, least_edit, window
from seqclass.variants.haplotypes import Carried, haplotypes

CHROM = "c"


class StringGenome(Genome):
    """A genome of one chromosome, from its letters."""

    def __init__(self, letters: str) -> None:
        self._tokens, self._starts, self.lengths = DNA.encode(letters), {CHROM: 0}, {CHROM: len(letters)}


def edit_of(start: int, ref: str, alt: str) -> Edit:
    return Edit(start, DNA.encode(ref), DNA.encode(alt))


def changed(letters: str, edit: Edit) -> str:
    return letters[: edit.start] + DNA.decode(edit.alt) + letters[edit.end :]


@st.composite
def alleles(draw: st.DrawFn) -> tuple[str, int, str, str]:
    """A chromosome with repeats, and REF and ALT somewhere on it."""
    letters = draw(st.text("AC", min_size=1, max_size=30))
    start = draw(st.integers(0, len(letters) - 1))
    ref = letters[start : draw(st.integers(start + 1, len(letters)))]
    alt = draw(st.text("ACG", min_size=1, max_size=8).filter(lambda alt: alt != ref))
    return letters, start, ref, alt


@given(alleles())
def test_the_least_edit_makes_the_same_chromosome_from_what_the_genome_has(given_: tuple[str, int, str, str]) -> None:
    letters, start, ref, alt = given_
    edit = least_edit(StringGenome(letters), CHROM, start, DNA.encode(ref), DNA.encode(alt))
    assert letters[edit.start : edit.end] == DNA.decode(edit.ref)
    assert changed(letters, edit) == letters[:start] + alt + letters[start + len(ref) :]


@given(alleles())
def test_no_way_to_write_the_same_indel_is_shorter_or_farther_left(given_: tuple[str, int, str, str]) -> None:
    letters, start, ref, alt = given_
    edit = least_edit(StringGenome(letters), CHROM, start, DNA.encode(ref), DNA.encode(alt))
    if len(edit.ref) and len(edit.alt):
        assert edit.ref[0] != edit.alt[0]
        assert edit.ref[-1] != edit.alt[-1]
        return
    wanted = changed(letters, edit)
    deleted = len(edit.ref)
    for left in range(edit.start):
        inserted = wanted[left : left + len(edit.alt)]
        assert letters[:left] + inserted + letters[left + deleted :] != wanted


def test_an_indel_moves_to_the_left_end_of_its_repeat() -> None:
    genome = StringGenome("GGCACACATT")
    at_the_right = least_edit(genome, CHROM, 6, DNA.encode("CA"), DNA.encode(""))
    assert (at_the_right.start, DNA.decode(at_the_right.ref)) == (2, "CA")
    anchored = least_edit(genome, CHROM, 7, DNA.encode("A"), DNA.encode("ACA"))
    assert (anchored.start, DNA.decode(anchored.alt)) == (2, "CA")


@given(alleles(), st.integers(8, 40))
def test_both_alleles_stand_in_the_middle_of_a_window_of_the_models_length(
    given_: tuple[str, int, str, str], length: int
) -> None:
    letters, start, ref, alt = given_
    genome = StringGenome(letters)
    edit = least_edit(genome, CHROM, start, DNA.encode(ref), DNA.encode(alt))
    for allele, whole in ((edit.ref, letters), (edit.alt, changed(letters, edit))):
        if len(allele) > length:
            continue
        before = (length - len(allele)) // 2
        padded = "N" * length + whole + "N" * length
        expected = padded[length + edit.start - before :][:length]
        assert DNA.decode(window(genome, CHROM, edit, allele, length)) == expected


@st.composite
def haplotype(draw: st.DrawFn) -> tuple[str, list[Edit]]:
    """A chromosome and edits of it that do not overlap, by their place."""
    letters = draw(st.text("ACGT", min_size=12, max_size=60))
    edits: list[Edit] = []
    at = 0
    while at < len(letters) - 3 and len(edits) < 6:
        start = draw(st.integers(at, len(letters) - 3))
        size = draw(st.integers(0, 3))
        alt = draw(st.text("ACGT", min_size=0 if size else 1, max_size=4))
        edits.append(edit_of(start, letters[start : start + size], alt))
        at = start + max(size, 1)
    return letters, edits


@given(haplotype(), st.data())
def test_neighbours_on_the_haplotype_are_in_the_window(given_: tuple[str, list[Edit]], data: st.DataObject) -> None:
    letters, edits = given_
    which = data.draw(st.integers(0, len(edits) - 1))
    length = data.draw(st.integers(8, 80))
    edit, others = edits[which], edits[:which] + edits[which + 1 :]
    whole, place = letters, edit.start
    for other in reversed(edits):
        whole = changed(whole, other)
        place += len(other.alt) - len(other.ref) if other.place < edit.place else 0
    before = (length - len(edit.alt)) // 2
    expected = ("N" * length + whole + "N" * length)[length + place - before :][:length]
    assert DNA.decode(window(StringGenome(letters), CHROM, edit, edit.alt, length, others)) == expected

    carried = [Carried(CHROM, each, frozenset({0}), None, number) for number, each in enumerate(edits)]
    mine = next(each for each in haplotypes(carried, length) if each.allele.key == which)
    reached = [neighbour.edit for neighbour in mine.neighbours]
    assert DNA.decode(window(StringGenome(letters), CHROM, edit, edit.alt, length, reached)) == expected


def carried(start: int, copies: set[int] | None, phase: str | None, ref: str = "A", alt: str = "C") -> Carried[int]:
    return Carried(CHROM, edit_of(start, ref, alt), None if copies is None else frozenset(copies), phase, start)


def neighbours(*alleles: Carried[int], length: int = 100) -> dict[tuple[int, tuple[int, ...]], list[int]]:
    found = haplotypes(sorted(alleles, key=lambda allele: allele.edit.start), length)
    return {(each.allele.key, each.copies): [other.key for other in each.neighbours] for each in found}


def test_only_alleles_of_one_copy_come_together() -> None:
    found = neighbours(
        carried(10, {0}, "all"), carried(20, {1}, "all"), carried(30, {0}, "all"), carried(40, {0, 1}, None)
    )
    assert found == {
        (10, (0,)): [30, 40],
        (20, (1,)): [40],
        (30, (0,)): [10, 40],
        (40, (0,)): [10, 30],
        (40, (1,)): [20],
    }


def test_what_is_not_phased_comes_only_with_what_all_copies_carry() -> None:
    found = neighbours(carried(10, None, None), carried(20, {0, 1}, None), carried(30, {0}, "all"))
    assert found[10, ()] == [20]
    assert found[20, (0,)] == [30]
    assert found[20, (1,)] == []


def test_phase_holds_within_its_set_only() -> None:
    assert neighbours(carried(10, {0}, "7"), carried(20, {0}, "8")) == {(10, (0,)): [], (20, (0,)): []}


def test_of_alleles_that_exclude_each_other_the_nearer_is_taken() -> None:
    deletion = carried(10, {0}, "all", ref="AAAAA", alt="")
    found = neighbours(deletion, carried(12, {0}, "all"), carried(30, {0}, "all"))
    assert found[30, (0,)] == [10]
    assert found[10, (0,)] == [30]


def test_neighbours_beyond_the_window_are_left_out() -> None:
    assert neighbours(carried(100, {0}, None), carried(149, {0}, None), carried(151, {0}, None))[100, (0,)] == [149]


def test_a_genome_reads_as_n_beyond_its_ends(tmp_path: Path) -> None:
    file = tmp_path / "g.fa"
    file.write_text(">one\nACgt\nRA\n>two\nTT\n")
    genome = Genome(file)
    assert genome.lengths == {"one": 6, "two": 2}
    assert DNA.decode(genome.read("one", -2, 8)) == "NNACGTNANN"
    assert DNA.decode(genome.read("two", 5, 8)) == "NNN"
    assert DNA.decode(genome.read("two", 0, 2)) == "TT"
    np.testing.assert_array_equal(genome.read("one", 0, 2), [0, 1])


def test_a_genome_with_two_chromosomes_of_one_name_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "g.fa"
    file.write_text(">one\nA\n>one\nC\n")
    with pytest.raises(SequenceError, match="line 3: a second sequence is called 'one'"):
        Genome(file)
