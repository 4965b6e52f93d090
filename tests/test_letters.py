from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqclass.alphabets import DNA, PROTEIN, Alphabet
from seqclass.data.lengths import cut, join_ends, tell
from seqclass.data.letters import LetterPolicy, LetterReader, Rule
from seqclass.errors import SeqclassError, SequenceError

RULES = st.sampled_from(get_args(Rule))
NEAREST = str.maketrans("UOBZJ", "CKDEL")


def read(alphabet: Alphabet, policy: LetterPolicy, *letters: bytes) -> list[str]:
    return read_with(LetterReader(alphabet, policy), *letters)


def read_with(reader: LetterReader, *letters: bytes) -> list[str]:
    tokens, lengths = reader.read(letters, lambda index: (Path("some.fa"), f"record{index}"))
    assert lengths.sum() == len(tokens)
    return [reader.alphabet.decode(part) for part in np.split(tokens, np.cumsum(lengths)[:-1])]


def by_the_letter(alphabet: Alphabet, policy: LetterPolicy, text: str) -> str:
    """The rules as they are written down, a letter at a time; ValueError where one refuses."""
    unknown, out = alphabet.unknown, []

    def rule(name: str, mapped: str) -> str:
        chosen = getattr(policy, name)
        if chosen == "strict":
            raise ValueError(name)
        return unknown if chosen == "mask" else mapped

    for position, letter in enumerate(text):
        if letter in "-.":
            out.append(rule("gaps", ""))
            continue
        if letter == "*":
            behind = text[position + 1 :].strip("-.") if policy.gaps == "map" else text[position + 1 :]
            if behind:
                raise ValueError("a stop within")
            out.append(rule("stop", ""))
            continue
        upper = letter.upper()
        uracil = alphabet == DNA and upper == "U"
        if not uracil and upper not in alphabet.letters + alphabet.ambiguous + unknown:
            raise ValueError("foreign")
        if letter != upper and rule("lower_case", upper) == unknown != upper:
            out.append(unknown)
        elif uracil:
            out.append(rule("uracil", "T"))
        elif upper in alphabet.ambiguous:
            out.append(rule("ambiguous", upper.translate(NEAREST)))
        elif upper == unknown and policy.ambiguous == "strict" and (letter == upper or policy.lower_case == "map"):
            raise ValueError("unknown")
        else:
            out.append(upper)
    if not "".join(out):
        raise ValueError("empty")
    return "".join(out)


@given(
    st.sampled_from([DNA, PROTEIN]),
    st.builds(LetterPolicy, RULES, RULES, RULES, RULES, RULES),
    st.lists(st.from_regex(r"[ACGT]{1,3}[ACGTNXacgtnx]*[RUuOBjZz]?[-.]?[*]?[-.]?[7*]?", fullmatch=True), min_size=1),
)
def test_a_portion_reads_as_the_rules_say_of_each_letter(
    alphabet: Alphabet, policy: LetterPolicy, texts: list[str]
) -> None:
    if alphabet == DNA and policy.ambiguous == "map":
        return
    letters = [text.encode() for text in texts]
    try:
        expected = [by_the_letter(alphabet, policy, text) for text in texts]
    except ValueError:
        with pytest.raises(SequenceError, match=r"some\.fa, record\d"):
            read(alphabet, policy, *letters)
    else:
        assert read(alphabet, policy, *letters) == expected


@pytest.mark.parametrize(
    ("alphabet", "policy", "letters", "read_as", "note"),
    [
        (DNA, {}, b"ACgt", "ACGT", "2 lower-case residues in 1 record read as upper case."),
        (DNA, {"lower_case": "mask"}, b"ACgt", "ACNN", "2 lower-case residues in 1 record mapped to N."),
        (DNA, {"gaps": "map"}, b"A-C..", "AC", "3 gaps (-, .) in 1 record removed."),
        (DNA, {"gaps": "mask"}, b"A-C", "ANC", "1 gap (-) in 1 record mapped to N."),
        (DNA, {}, b"AUGU", "ATGT", "2 residues (U) in 1 record mapped to T."),
        (DNA, {"uracil": "mask"}, b"AUG", "ANG", "1 residue (U) in 1 record mapped to N."),
        (DNA, {}, b"ARYN", "ANNN", "2 residues (R, Y) in 1 record mapped to N."),
        (PROTEIN, {}, b"MKU*", "MKX", "1 stop (*) in 1 record removed."),
        (PROTEIN, {"stop": "mask"}, b"MK*", "MKX", "1 stop (*) in 1 record mapped to X."),
        (PROTEIN, {}, b"MUZX", "MXXX", "2 residues (U, Z) in 1 record mapped to X."),
        (PROTEIN, {"ambiguous": "map"}, b"UOBZJX", "CKDELX", "5 residues (B, J, O, U, Z) in 1 record mapped to D, L, "),
        (PROTEIN, {"gaps": "map"}, b"MK*--", "MK", "2 gaps (-) in 1 record removed."),
    ],
)
def test_what_is_changed_is_told(
    alphabet: Alphabet, policy: dict[str, Rule], letters: bytes, read_as: str, note: str
) -> None:
    reader = LetterReader(alphabet, LetterPolicy(**policy))
    assert read_with(reader, letters) == [read_as]
    assert any(told.startswith(note) for told in reader.notes())


def test_counts_go_on_over_portions_and_plain_residues_are_not_counted() -> None:
    reader = LetterReader(PROTEIN, LetterPolicy())
    read_with(reader, b"MUU", b"MKV", b"MZ")
    assert reader.notes() == ["3 residues (U, Z) in 2 records mapped to X."]
    read_with(reader, b"MU" * 600, b"XXX", PROTEIN.letters.encode())
    assert reader.notes() == ["603 residues (U, Z) in 3 records mapped to X."]
    reader = LetterReader(PROTEIN, LetterPolicy())
    read_with(reader, PROTEIN.letters.encode(), b"XX")
    assert reader.notes() == []


@pytest.mark.parametrize(
    ("alphabet", "policy", "letters", "problem", "remedy"),
    [
        (DNA, {"lower_case": "strict"}, b"ACg", "'g' at position 3 is lower case", "--lower-case map"),
        (DNA, {}, b"A-C", "'-' at position 2 is a gap", "--gaps map"),
        (DNA, {"uracil": "strict"}, b"AU", "'U' at position 2 is RNA", "--uracil map"),
        (DNA, {"ambiguous": "strict"}, b"ACR", "'R' at position 3 stands for several", "--ambiguous mask"),
        (DNA, {"ambiguous": "strict"}, b"nAC", "'n' at position 1 stands for an unknown residue", "--ambiguous mask"),
        (DNA, {}, b"ACGE", "'E' at position 4 is not DNA", "Check that this is DNA"),
        (DNA, {}, "ACß".encode("latin-1"), "'ß' at position 3 is not DNA", "Check that this is DNA"),
        (PROTEIN, {"stop": "strict"}, b"MK*", r"'\*' at position 3 is a stop", "--stop map"),
        (PROTEIN, {}, b"M*KV", r"'\*' at position 2 is a stop within a sequence of 4", "reading frame"),
        (PROTEIN, {"stop": "mask"}, b"MK**", r"'\*' at position 3 is a stop within", "reading frame"),
        (PROTEIN, {"ambiguous": "strict"}, b"MKX", "'X' at position 3 stands for an unknown", "--ambiguous mask"),
        (PROTEIN, {}, b"", "no residue is left", "Remove the record"),
        (PROTEIN, {"gaps": "map"}, b"-.*", "no residue is left", "Remove the record"),
    ],
)
def test_a_letter_that_is_refused_is_named_with_its_place_and_the_option(
    alphabet: Alphabet, policy: dict[str, Rule], letters: bytes, problem: str, remedy: str
) -> None:
    with pytest.raises(SequenceError, match=rf"^some\.fa, record2: .*{problem}.*{remedy}"):
        read(alphabet, LetterPolicy(**policy), b"ACT", b"CAT", letters, b"GAT")


def test_dna_has_no_nearest_base_for_an_ambiguous_letter() -> None:
    with pytest.raises(SeqclassError, match=r"cannot be mapped.*--ambiguous mask"):
        LetterReader(DNA, LetterPolicy(ambiguous="map"))


def test_a_rule_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SeqclassError, match=r"--lower-case is 'upper'.*strict, mask and map"):
        LetterPolicy(lower_case="upper")


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(1, 15))
def test_over_long_sequences_keep_what_slicing_keeps(lengths: list[int], longest: int) -> None:
    residues = np.arange(sum(lengths))
    sequences = np.split(residues, np.cumsum(lengths)[:-1])
    ends, shortened = join_ends(residues, np.array(lengths), longest)
    for sequence, kept in zip(sequences, np.split(ends, np.cumsum(shortened)[:-1]), strict=True):
        head, tail = (longest + 1) // 2, longest // 2
        expected = sequence if len(sequence) <= longest else [*sequence[:head], *sequence[len(sequence) - tail :]]
        assert kept.tolist() == list(expected)
    for how, expected in (
        ("head", [sequence[:longest] for sequence in sequences]),
        ("tail", [sequence[-longest:] for sequence in sequences]),
    ):
        views = zip(*cut(np.array(lengths), longest, how), strict=True)
        for number, (owner, start, length) in enumerate(views):
            assert owner == number
            assert sequences[number][start : start + length].tolist() == expected[number].tolist()


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.integers(1, 15))
def test_windows_cover_a_sequence_with_half_an_overlap_and_end_with_it(lengths: list[int], longest: int) -> None:
    owner, start, length = cut(np.array(lengths), longest, "windows")
    for number, whole in enumerate(lengths):
        begins, sizes = start[owner == number], length[owner == number]
        assert (sizes == min(whole, longest)).all()
        assert begins[0] == 0
        assert begins[-1] + sizes[-1] == whole
        steps = np.diff(begins)
        assert (steps[:-1] == (longest + 1) // 2).all()
        assert (steps > 0).all()
        assert (steps <= (longest + 1) // 2).all()
    assert (np.diff(owner) >= 0).all()


def test_over_long_sequences_are_told_of() -> None:
    lengths = np.array([3, 1200, 5000, 1000])
    for how, words in (
        ("head", "their first 1,000 residues were kept"),
        ("tail", "their last 1,000 residues were kept"),
        ("both-ends", "their first and last 500 residues were kept"),
        ("windows", "they were cut into windows of 1,000 residues that overlap by half"),
    ):
        expected = f"2 of 4 sequences are longer than 1,000 residues; {words}."
        assert tell(lengths, 1000, how, "residues") == expected
        assert tell(lengths, 5000, how, "residues") is None
    assert "first 6 and last 5 bp" in (tell(lengths, 11, "both-ends", "bp") or "")
