import numpy as np
import pytest
from class_stores import make_classes, random_proteins

from seqclass.alphabets import DNA, PROTEIN
from seqclass.data.simulate.families import simulate_pfam
from seqclass.data.sources.pfam import import_pfam
from seqclass.errors import EvaluationError, MissingPackageError, UnknownNameError
from seqclass.evaluation.baselines.homology import MIN_COVERAGE, compute_homology, family_hmm

pyhmmer = pytest.importorskip("pyhmmer", reason="needs the pyhmmer package")


@pytest.fixture(scope="module")
def families(tmp_path_factory):
    folder = tmp_path_factory.mktemp("families")
    simulate_pfam(folder / "raw", families=8, members=20, depth=0.8, seed=3)
    return import_pfam(folder / "raw" / "random_split", folder / "pfam.h5")


def test_simulated_families_are_recognised(families):
    test = families.samples("test")
    truth = families.classes(test)[:, 0]
    baselines = compute_homology(families, test).baselines
    assert list(baselines) == ["phmmer", "family_hmm"]
    for baseline in baselines.values():
        assert (baseline.scores.argmax(axis=1) == truth).mean() > 0.9
        assert baseline.scores.dtype == np.float32


def substituted(random, text, count):
    letters = list(text)
    # Ends stay, so that the alignment reaches them.
    for place in random.choice(np.arange(10, len(text) - 10), count, replace=False):
        letters[place] = random.choice([letter for letter in PROTEIN.letters if letter != letters[place]])
    return "".join(letters)


@pytest.fixture
def planted(tmp_path):
    """Two training proteins; in test a copy, one with 20 of 100 substituted, half a copy, and a stranger."""
    random = np.random.default_rng(0)
    one, other, half, stranger = random_proteins(random, [100, 120, 100, 100])
    test = [one, substituted(random, other[:100], 20), one[:50] + half[50:], stranger]
    return make_classes(tmp_path / "p.h5", [one, other, *test], [0, 1, 0, 1, 0, 0], ["train"] * 2 + ["test"] * 4)


def test_identity_is_that_of_what_was_planted_and_needs_coverage(planted):
    identity = compute_homology(planted, planted.samples("test"), ["phmmer"]).identity
    np.testing.assert_allclose(identity[:2], [1, 0.8], atol=0.02)
    assert np.isnan(identity[2:]).all()
    assert 0.5 < MIN_COVERAGE <= 1


def test_a_class_scores_as_its_best_hit_in_an_independent_search(families):
    test, train = families.samples("test")[:6], families.samples("train")
    scores = compute_homology(families, test, ["phmmer"]).baselines["phmmer"].scores
    alphabet = pyhmmer.easel.Alphabet.amino()
    with families.open() as file:
        tape = PROTEIN.decode(file["tokens"][:])

    def sequence(sample):
        begin = families.contig_start[families.views.contig[sample]]
        text = tape[begin : begin + families.views.length[sample]]
        return pyhmmer.easel.TextSequence(name=str(sample), sequence=text).digitize(alphabet)

    database = pyhmmer.easel.DigitalSequenceBlock(alphabet, [sequence(sample) for sample in train])
    pipeline = pyhmmer.plan7.Pipeline(alphabet)
    for row, sample in enumerate(test):
        hits = pipeline.search_seq(sequence(sample), database)
        best = {}
        for hit in hits:
            family = families.classes(np.array([int(hit.name)]))[0, 0]
            best[family] = max(best.get(family, -np.inf), hit.score)
        assert best
        for family, bits in best.items():
            assert scores[row, family] == pytest.approx(bits, abs=1e-3)
        others = np.delete(scores[row], list(best))
        assert (others < min(best.values())).all()


def test_what_has_no_hit_is_of_the_most_frequent_class(tmp_path):
    random = np.random.default_rng(1)
    one, other, stranger = random_proteins(random, [100, 100, 100])
    sequences = [one, other, other[:80] + stranger[80:], "W" * 5]
    store = make_classes(tmp_path / "none.h5", sequences, [0, 1, 1, 0], ["train"] * 3 + ["test"])
    for baseline in compute_homology(store, store.samples("test")).baselines.values():
        assert baseline.scores.argmax(axis=1).tolist() == [1]


def test_a_profile_of_many_members_sees_a_relative_better_than_that_of_one(families):
    members = families.samples("train")
    members = members[families.classes(members)[:, 0] == 0]
    relatives = families.samples("test")
    relatives = relatives[families.classes(relatives)[:, 0] == 0]
    alphabet = pyhmmer.easel.Alphabet.amino()
    with families.open() as file:
        tape = PROTEIN.decode(file["tokens"][:])
    block = pyhmmer.easel.DigitalSequenceBlock(alphabet)
    for sample in relatives:
        begin = families.contig_start[families.views.contig[sample]]
        text = tape[begin : begin + families.views.length[sample]]
        block.append(pyhmmer.easel.TextSequence(name="x", sequence=text).digitize(alphabet))

    def bits(chosen):
        (hits,) = pyhmmer.hmmer.hmmsearch([family_hmm(families, chosen)], block, E=1e6)
        return sum(hit.score for hit in hits)

    assert bits(members) > np.mean([bits(members[[one]]) for one in range(len(members))])


def test_homology_of_dna_or_under_an_unknown_name_is_refused(tmp_path, families):
    store = make_classes(tmp_path / "dna.h5", ["ACGT" * 9] * 2, [0, 1], ["train", "test"], DNA)
    with pytest.raises(EvaluationError, match="holds DNA"):
        compute_homology(store, store.samples("test"))
    with pytest.raises(UnknownNameError, match="blast"):
        compute_homology(families, families.samples("test"), ["blast"])


def test_without_pyhmmer_one_sentence_says_what_to_install(families, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyhmmer", None)
    with pytest.raises(MissingPackageError, match=r"seqclass\[homology\]"):
        compute_homology(families, families.samples("test"))
