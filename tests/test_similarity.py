from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqclass.alphabets import DNA, PROTEIN, Alphabet
from seqclass.data.similarity import components, kmer_sets, same_sequences, similar_pairs
from seqclass.data.store import Store, Views
from seqclass.data.writer import VectorForm, write_store
from seqclass.errors import SeqclassError, SourceError
from seqclass.targets import Target

COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


def store_of(path: Path, alphabet: Alphabet, sequences: list[str]) -> Store:
    lengths = np.array([len(sequence) for sequence in sequences])
    with write_store(path, alphabet, force=True) as writer:
        writer.add_contigs([f"s{i}" for i in range(len(sequences))], alphabet.encode("".join(sequences)), lengths)
        writer.set_targets([Target("t")])
        writer.add_labels(writer.layout.pack(np.ones((len(sequences), 1))))
        count = len(sequences)
        writer.set_samples(Views(np.arange(count), np.zeros(count, int), lengths, np.ones(count, int)), np.zeros(count))
        writer.finish({"notes": []})
    return Store(path)


def kmers(sequence: str, k: int, alphabet: Alphabet) -> set[str]:
    found = {sequence[i : i + k] for i in range(len(sequence) - k + 1)}
    found = {kmer for kmer in found if alphabet.unknown not in kmer}
    return {min(kmer, kmer[::-1].translate(COMPLEMENT)) for kmer in found} if alphabet is DNA else found


def jaccard(one: set[str], other: set[str]) -> float:
    return len(one & other) / max(1, len(one | other))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("similarity") / "store.h5"


@pytest.mark.parametrize(("alphabet", "k"), [(PROTEIN, 2), (PROTEIN, 5), (DNA, 3), (DNA, 12)])
@settings(deadline=None)
@given(seed=st.integers(0, 9999), count=st.integers(1, 25))
def test_every_pair_is_found_and_as_alike_as_sets_of_strings_say(
    path: Path, alphabet: Alphabet, k: int, seed: int, count: int
) -> None:
    generator = np.random.default_rng(seed)
    letters = list(alphabet.letters[:4] + alphabet.unknown)
    ancestor = generator.choice(letters, 40, p=[0.24] * 4 + [0.04])
    sequences = []
    for _ in range(count):
        child = np.where(
            generator.random(40) < generator.choice([0, 0.05, 0.9]), generator.choice(letters, 40), ancestor
        )
        text = "".join(child[: generator.integers(1, 41)])
        sequences.append(text[::-1].translate(COMPLEMENT) if alphabet is DNA and generator.random() < 0.5 else text)
    store = store_of(path, alphabet, sequences)
    sets = kmer_sets(store, np.arange(count), k)
    plain = [kmers(sequence, k, alphabet) for sequence in sequences]
    assert sets.sizes.tolist() == [len(each) for each in plain]
    rows, columns = np.arange(0, count, 2), np.arange(count)
    found = {}
    for one, other, index in similar_pairs(sets, rows, columns, 0.3):
        found |= dict(zip(zip(one.tolist(), other.tolist(), strict=True), index.tolist(), strict=True))
    expected = {(i, j): jaccard(plain[i], plain[j]) for i in rows.tolist() for j in columns.tolist()}
    expected = {pair: index for pair, index in expected.items() if index >= 0.3}
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("alphabet", [PROTEIN, DNA])
@settings(deadline=None)
@given(sequences=st.lists(st.text("ACN", min_size=1, max_size=4), min_size=1, max_size=30))
def test_same_sequences_are_those_of_equal_strings(path: Path, alphabet: Alphabet, sequences: list[str]) -> None:
    unknown = alphabet.unknown
    sequences = [sequence.replace("N", unknown) for sequence in sequences]
    number = same_sequences(store_of(path, alphabet, sequences)).tolist()
    either = [min(each, each[::-1].translate(COMPLEMENT)) if alphabet is DNA else each for each in sequences]
    for one, first in enumerate(either):
        assert (number[one] == -1) == (set(first) == {unknown})
        for other, second in enumerate(either):
            assert (number[one] == number[other]) == (first == second or number[one] == number[other] == -1)


def test_components_are_those_of_the_graph_of_alike_pairs(path: Path) -> None:
    generator = np.random.default_rng(1)
    families = ["".join(generator.choice(list(PROTEIN.letters), 60)) for _ in range(12)]
    sequences = []
    for family in families:
        for _ in range(generator.integers(1, 6)):
            changed = np.where(generator.random(60) < 0.1, generator.choice(list(PROTEIN.letters), 60), list(family))
            sequences.append("".join(changed))
    sequences.append("MK")
    plain = [kmers(sequence, 5, PROTEIN) for sequence in sequences]
    label = list(range(len(sequences)))
    for i in range(len(sequences)):
        for j in range(i):
            if jaccard(plain[i], plain[j]) >= 0.2:
                label = [label[i] if each == label[j] else each for each in label]
    found = components(kmer_sets(store_of(path, PROTEIN, sequences), np.arange(len(sequences))), 0.2).tolist()
    pairs = set(zip(label, found, strict=True))
    assert len(pairs) == len(set(label)) == len(set(found))
    assert len(set(found)) >= 13


def test_what_cannot_be_compared_is_refused(path: Path, tmp_path: Path) -> None:
    store = store_of(path, PROTEIN, ["MKV", "MKL"])
    with pytest.raises(SourceError, match="k-mers of 0 residues"):
        kmer_sets(store, np.arange(2), 0)
    with pytest.raises(SourceError, match="k-mers of 30 residues"):
        kmer_sets(store, np.arange(2), 30)
    with pytest.raises(SeqclassError, match="a level of 0"):
        components(kmer_sets(store, np.arange(2)), 0)
    with write_store(tmp_path / "v.h5", PROTEIN, vectors=VectorForm(2, "float16")) as writer:
        writer.add_contigs(["a"], np.zeros((3, 2), np.float16))
        writer.set_targets([Target("t")])
        writer.add_labels(writer.layout.pack(np.ones((1, 1))))
        writer.set_samples(Views(*(np.array([value]) for value in (0, 0, 3, 1))), np.zeros(1))
        writer.finish({})
    with pytest.raises(SourceError, match="vectors have no k-mers"):
        kmer_sets(Store(tmp_path / "v.h5"), np.arange(1))


def test_one_k_mer_in_so_many_is_the_same_in_all_samples_and_estimates_the_index(path: Path) -> None:
    generator = np.random.default_rng(7)
    one = generator.choice(list(DNA.letters), 20_000)
    other = np.where(generator.random(20_000) < 0.01, generator.choice(list(DNA.letters), 20_000), one)
    store = store_of(path, DNA, ["".join(one), "".join(other)])
    indices = []
    for one_in in (1, 8):
        sets = kmer_sets(store, np.arange(2), 12, one_in)
        ((_, _, index),) = similar_pairs(sets, np.array([0]), np.array([1]), 0.1)
        indices.append(float(index[0]))
        assert sets.sizes[0] == pytest.approx(20_000 / one_in, rel=0.1)
    assert indices[1] == pytest.approx(indices[0], abs=0.05)
