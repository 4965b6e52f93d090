import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqclass.alphabets import DNA, PROTEIN, get_alphabet, reverse_complement
from seqclass.errors import SequenceError, UnknownNameError

COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


@given(st.text("ACGTN"))
def test_decoding_undoes_encoding(sequence: str) -> None:
    assert DNA.decode(DNA.encode(sequence)) == sequence


@given(st.text("ACGTN"))
def test_reverse_complement_equals_the_one_spelt_out_in_letters(sequence: str) -> None:
    assert DNA.decode(reverse_complement(DNA.encode(sequence))) == sequence[::-1].translate(COMPLEMENT)


@given(st.lists(st.text("ACGTN", min_size=7, max_size=7), min_size=1, max_size=4))
def test_reverse_complement_twice_is_the_identity(rows: list[str]) -> None:
    tokens = np.stack([DNA.encode(row) for row in rows])
    assert (reverse_complement(reverse_complement(tokens)) == tokens).all()


def test_lower_case_is_read_as_upper_case() -> None:
    assert (DNA.encode("acgtn") == DNA.encode(b"ACGTN")).all()


@pytest.mark.parametrize("sequence", ["ACXT", "AC-T", "AC T", "ACRT", "ACéT", "AC☃T"])
def test_a_letter_outside_the_alphabet_is_named_with_its_position(sequence: str) -> None:
    with pytest.raises(SequenceError, match=r"at position 3 is not DNA"):
        DNA.encode(sequence)


def test_an_ambiguous_letter_is_told_with_a_command_that_masks_it(tmp_path: Path) -> None:
    with pytest.raises(SequenceError, match="'r' at position 3 is not DNA without ambiguity") as caught:
        DNA.encode("ACrT")
    assert caught.value.remedy is not None
    (tmp_path / "old.fa").write_text(">Chromosome_RY\nACrTBN\n")
    subprocess.run(caught.value.remedy.split("as in: ")[1], shell=True, cwd=tmp_path, check=True)
    assert (tmp_path / "new.fa").read_text() == ">Chromosome_RY\nACNTNN\n"
    with pytest.raises(SequenceError, match="Check that this is DNA"):
        DNA.encode("AC-T")


def test_every_letter_has_a_token_of_its_own() -> None:
    for alphabet in (DNA, PROTEIN):
        letters = alphabet.letters + alphabet.unknown
        assert alphabet.encode(letters).tolist() == list(range(len(letters)))


def test_an_unknown_alphabet_is_an_error() -> None:
    with pytest.raises(UnknownNameError, match="no alphabet 'rna'"):
        get_alphabet("rna")


def test_an_alphabet_that_was_sent_to_another_process_is_the_same_one() -> None:
    for alphabet in (DNA, PROTEIN):
        assert pickle.loads(pickle.dumps(alphabet)) is alphabet
