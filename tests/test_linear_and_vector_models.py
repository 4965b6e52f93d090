"""The linear model against scikit-learn, models of vectors against plain PyTorch, and what is refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import nn

from seqclass.alphabets import DNA, PROTEIN, Alphabet
from seqclass.blocks.kmers import KmerCounts
from seqclass.bundle import Bundle
from seqclass.data.labels import pack_labels
from seqclass.data.loader import StoreLoader
from seqclass.data.store import Store, Views
from seqclass.data.writer import VectorForm, write_store
from seqclass.errors import AssemblyError, SequenceError, StoreError, TrainingError
from seqclass.models import create_model, embedding_mlp, kmer_logreg, light_attention, protcnn_small
from seqclass.predict import check_fits, predict, score_samples
from seqclass.targets import Target
from seqclass.training import run_experiment
from seqclass.training.task import ClassificationTask, Recipe

QUICK = ["--data.batch_size=16", "--trainer.max_epochs=2", "--trainer.precision=32-true", "--baselines=false"]


def count_with_scikit_learn(sequences: list[str], k: int, alphabet: Alphabet) -> np.ndarray:
    """Counts by scikit-learn, in alphabetical order; in DNA a k-mer and its reverse complement are one."""
    kmers = ["".join(letters) for letters in itertools.product(alphabet.letters, repeat=k)]
    vectorizer = CountVectorizer(analyzer="char", ngram_range=(k, k), vocabulary=kmers, lowercase=False)
    counts = vectorizer.transform(sequences).toarray()
    if alphabet is PROTEIN:
        return counts
    other_strand = str.maketrans("ACGT", "TGCA")
    first = [min(kmer, kmer.translate(other_strand)[::-1]) for kmer in kmers]
    return np.stack([counts[:, [one == kmer for one in first]].sum(axis=1) for kmer in sorted(set(first))], axis=1)


@pytest.mark.parametrize(("alphabet", "k"), [(DNA, 1), (DNA, 2), (DNA, 3), (DNA, 4), (PROTEIN, 1), (PROTEIN, 2)])
def test_kmers_are_counted_as_scikit_learn_counts_them(alphabet: Alphabet, k: int) -> None:
    tokens = torch.randint(0, len(alphabet.letters), (5, 30))
    expected = count_with_scikit_learn([alphabet.decode(row) for row in tokens.numpy()], k, alphabet)
    counts = KmerCounts(alphabet.name, k)(torch.eye(len(alphabet.letters))[tokens])
    np.testing.assert_allclose(counts.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("alphabet", "k"), [(PROTEIN, 1), (DNA, 3)])
def test_logits_and_optimum_are_those_of_scikit_learn(alphabet: Alphabet, k: int) -> None:
    generator = np.random.default_rng(0)
    tokens = generator.integers(0, len(alphabet.letters), (120, 40))
    share = (tokens == 1).sum(axis=1)
    labels = share + generator.normal(0, 1, 120) > np.median(share)
    counts = count_with_scikit_learn([alphabet.decode(row) for row in tokens], k, alphabet)
    theirs = LogisticRegression(C=0.5, tol=1e-10, max_iter=5000).fit(counts, labels)
    x, y = torch.from_numpy(tokens), torch.from_numpy(labels).double().unsqueeze(1)

    model = kmer_logreg(1, alphabet.name, k).double()
    model.out.weight.data.copy_(torch.from_numpy(theirs.coef_))
    model.out.bias.data.copy_(torch.from_numpy(theirs.intercept_))
    np.testing.assert_allclose(model(x).detach().numpy()[:, 0], theirs.decision_function(counts), rtol=1e-6, atol=1e-8)

    fresh = kmer_logreg(1, alphabet.name, k).double()
    optimiser = torch.optim.LBFGS(
        fresh.parameters(), max_iter=2000, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        total = nn.functional.binary_cross_entropy_with_logits(fresh(x), y, reduction="sum")
        total = total + fresh.out.weight.square().sum() / (2 * 0.5)
        total.backward()
        return total

    optimiser.step(loss)
    np.testing.assert_allclose(fresh.out.weight.detach().numpy(), theirs.coef_, atol=1e-4)
    np.testing.assert_allclose(fresh.out.bias.detach().numpy(), theirs.intercept_, atol=1e-4)


def test_both_strands_have_the_same_kmer_logits() -> None:
    model = kmer_logreg(2)
    nn.init.normal_(model.out.weight)
    tokens = torch.randint(0, 5, (3, 50))
    other = (3 - tokens.flip(1)).where(tokens.flip(1) < 4, torch.tensor(4))
    torch.testing.assert_close(model(tokens), model(other), rtol=1e-4, atol=1e-4)


def test_sequences_without_a_kmer_are_refused() -> None:
    with pytest.raises(AssemblyError, match="5 residues, in which no k-mer of 6 fits"):
        kmer_logreg(1)(torch.zeros(1, 5, dtype=torch.uint8))
    with pytest.raises(AssemblyError, match="k-mers of 0 residues"):
        kmer_logreg(1, k=0)
    with pytest.raises(AssemblyError, match="k-mers of 9 residues"):
        kmer_logreg(1, "protein", 9)


def test_embedding_mlp_equals_the_plain_network_on_the_mean() -> None:
    model = embedding_mlp(5).eval()
    plain = nn.Sequential(nn.Linear(1024, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 5))
    plain.load_state_dict(dict(zip(plain.state_dict(), model.state_dict().values(), strict=True)))
    vectors, lengths = torch.randn(3, 20, 1024), torch.tensor([20, 7, 1])
    mask = torch.arange(20) < lengths.unsqueeze(1)
    means = torch.stack([row[:length].mean(dim=0) for row, length in zip(vectors, lengths, strict=True)])
    torch.testing.assert_close(model(vectors, mask), plain(means), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model(means.half().unsqueeze(1)), plain(means), rtol=1e-2, atol=1e-2)


@pytest.fixture
def vectors(tmp_path: Path) -> Store:
    """A store of vectors of 8 numbers, 3 to 6 a sample, in which the first number says the label."""
    generator = np.random.default_rng(0)
    count = 90
    length = generator.integers(3, 7, count).astype(np.int32)
    labels = generator.integers(0, 2, (count, 1))
    tape = generator.normal(size=(length.sum(), 8)).astype(np.float16)
    tape[:, 0] += 4 * np.repeat(labels[:, 0], length)
    path = tmp_path / "vectors.h5"
    with write_store(path, PROTEIN, vectors=VectorForm(8, "float16")) as writer:
        begin = 0
        for number, size in enumerate(length):
            writer.add_contigs([f"p{number}"], tape[begin : begin + size])
            begin += size
        writer.set_targets([Target("long")])
        writer.add_labels(pack_labels(labels))
        zeros = np.zeros(count)
        views = Views(np.arange(count, dtype=np.int32), zeros.astype(np.int64), length, zeros.astype(np.int8) + 1)
        writer.set_samples(views, np.resize(np.array([0, 0, 0, 1, 2], dtype=np.uint8), count))
        writer.finish({"source": "test", "notes": []})
    return Store(path)


@pytest.mark.parametrize("build", [embedding_mlp, light_attention])
def test_models_of_vectors_learn_from_a_store_of_them(
    build: Callable[..., object], vectors: Store, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    arguments = ["fit", f"--data.store={vectors.path}", f"--out={out}", *QUICK, "--trainer.max_epochs=15"]
    metrics = run_experiment(build, name="test", arguments=[*arguments, "--recipe.learning_rate=0.01"])
    bundle = Bundle.load(out / "bundle")
    assert bundle.model.vector_size == 8
    test = vectors.samples("test")
    assert roc_auc_score(vectors.labels(test)[:, 0], score_samples(bundle, vectors, test)[:, 0]) > 0.95
    assert metrics["model"]["targets"] == 0  # eight positives are too few for a mean


def test_a_model_of_tokens_is_not_trained_on_vectors_nor_the_other_way(
    vectors: Store, make_store: Callable[..., Store], tmp_path: Path
) -> None:
    for build, store, message in (
        (protcnn_small, vectors, "holds vectors, and test reads tokens"),
        (embedding_mlp, make_store(), "holds tokens, and test reads vectors"),
    ):
        arguments = ["fit", f"--data.store={store.path}", f"--out={tmp_path / 'run'}", *QUICK]
        with pytest.raises(TrainingError, match=message):
            run_experiment(build, name="test", arguments=arguments)
        assert not (tmp_path / "run").exists()


def test_a_bundle_is_not_asked_what_it_cannot_read(vectors: Store, make_bundle: Callable[..., Bundle]) -> None:
    targets = list(vectors.targets)
    with pytest.raises(StoreError, match="holds vectors of 8 numbers, and the model reads vectors of 12 numbers"):
        check_fits(Bundle(create_model("embedding_mlp", num_targets=1, vector_size=12), targets, [1]), vectors)
    with pytest.raises(StoreError, match="holds vectors of 8 numbers, and the model reads tokens"):
        check_fits(make_bundle(), vectors)
    bundle = Bundle(create_model("embedding_mlp", num_targets=1, vector_size=8), targets, [1])
    with pytest.raises(
        SequenceError, match=r"model reads vectors of 8 numbers\. Turn them into vectors with 'seqclass"
    ):
        next(predict(bundle, [("a", "ACD")]))


def test_lightnings_own_batch_norm_conversion_is_refused(make_store: Callable[..., Store], tmp_path: Path) -> None:
    arguments = ["fit", f"--data.store={make_store().path}", f"--out={tmp_path / 'run'}", *QUICK]
    with pytest.raises(TrainingError, match="this library's own already shares its statistics"):
        run_experiment(kmer_logreg, name="test", arguments=[*arguments, "--trainer.sync_batchnorm=true"])
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore:You are trying to `self.log")  # there is no trainer here
def test_penalties_of_deepsea_reach_the_loss_and_its_gradient(make_store: Callable[..., Store]) -> None:
    store = make_store(window=200)
    sizes = {"length": 200, "widths": (6, 6, 6), "hidden": 6}
    free, held = (create_model("deepsea", num_targets=3, **sizes, **extra).eval() for extra in ({}, {"l2": 0.5}))
    held.load_state_dict(free.state_dict())
    batch = next(iter(StoreLoader(store, store.samples("train"), 16)))
    losses = [
        ClassificationTask(Bundle(model, list(store.targets), [9] * 3), store.layout, Recipe()).training_step(batch, 0)
        for model in (free, held)
    ]
    for loss in losses:
        loss.backward()
    weights = [name for name, _ in free.named_parameters() if name.endswith("weight")]
    squares = sum(free.get_parameter(name).square().sum() for name in weights)
    torch.testing.assert_close(losses[1] - losses[0], 0.5 * squares, rtol=1e-4, atol=1e-4)
    for name in weights:
        pulled = held.get_parameter(name).grad - free.get_parameter(name).grad
        torch.testing.assert_close(pulled, free.get_parameter(name).detach(), rtol=1e-4, atol=1e-5)


def test_the_bound_of_deepsea_holds_after_training(make_store: Callable[..., Store], tmp_path: Path) -> None:
    from seqclass.models import deepsea

    store = make_store(window=200)
    options = ["--model.widths=[6,6,6]", "--model.hidden=6", "--model.max_norm=0.4", "--model.l1=1e-4"]
    arguments = ["fit", f"--data.store={store.path}", f"--out={tmp_path / 'run'}", *QUICK, *options]
    run_experiment(deepsea, name="test", arguments=arguments)
    model = Bundle.load(tmp_path / "run" / "bundle").model
    lengths = torch.cat([p.flatten(1).norm(dim=1) for name, p in model.named_parameters() if name.endswith("weight")])
    assert lengths.max() <= 0.4 + 1e-5
    assert (lengths > 0.39).any()
