"""Classifiers that start from other models: what they take over, what they refuse, and what a run says about it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from seqclass.blocks import (
    BiLSTMEncoder,
    Block,
    LearnedEmbedding,
    LinearHead,
    MaxPool,
    OneHotEmbedding,
    ProtCNNStem,
    TransformerXLEncoder,
    build,
    register_block,
)
from seqclass.bundle import Bundle
from seqclass.cli import main
from seqclass.data.store import Store
from seqclass.errors import AssemblyError, BundleError, SeqclassError, TrainingError
from seqclass.models import (
    MaskedResidueLM,
    SequenceClassifier,
    create_model,
    init_from,
    protcnn,
    transformer_xl,
    transformer_xl_lm,
)
from seqclass.saved import load_trained, save_language_model
from seqclass.training import run_experiment

SIZES = {"channels": 16, "layers": 2, "heads": 2, "head_size": 8, "inner": 16}
OPTIONS = [*(f"--model.{name}={size}" for name, size in SIZES.items()), "--model.causal=true"]


def weights(block: Block) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in block.state_dict().items()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(value, two[name]) for name, value in one.items())


def masked(number: int) -> MaskedResidueLM:
    return [
        lambda: MaskedResidueLM(LearnedEmbedding(8, "protein"), None, TransformerXLEncoder(8, 1, 2, 4, 8)),
        lambda: MaskedResidueLM(OneHotEmbedding("dna"), None, BiLSTMEncoder(4, 6)),
        lambda: MaskedResidueLM(OneHotEmbedding("protein"), ProtCNNStem(20, 12, 6, 9, (1, 3)), None),
    ][number]()


@pytest.mark.parametrize("number", range(3))
def test_a_classifier_takes_over_the_trunk_of_a_masked_model_and_no_more(number: int, tmp_path: Path) -> None:
    model, fresh = masked(number), masked(number)
    tokens = torch.randint(0, 5, (2, 30))
    # Batch norms have seen data, which a classifier takes over as well.
    model.train()(tokens)
    model.eval()
    head = LinearHead(model.norm.normalized_shape[0], 3, MaxPool())
    classifier = SequenceClassifier(fresh.embedding, fresh.stem, fresh.encoder, head, None, model.alphabet).eval()
    before = weights(head)
    save_language_model(model, tmp_path / "lm", {"seed": 0})
    taken, left = init_from(classifier, load_trained(tmp_path / "lm"))
    assert left == ("head",)
    assert taken == (("embedding", "encoder"), ("encoder",), ("stem",))[number]
    mask = torch.arange(30) < torch.tensor([[30], [19]])
    assert torch.equal(classifier.features(tokens, mask)[0], model.features(tokens, mask)[0])
    assert same(weights(classifier.head), before)


@pytest.mark.parametrize("tied", [True, False])
def test_a_causal_classifier_takes_over_a_causal_language_model(tied: bool) -> None:
    model = transformer_xl_lm(**SIZES, tied=tied, dropout=0.0, memory_length=7).eval()
    classifier = create_model("transformer_xl", num_targets=2, causal=True, **SIZES).eval()
    assert init_from(classifier, model).taken == ("embedding", "encoder")
    tokens = torch.randint(0, 5, (2, 40))
    assert torch.equal(classifier.features(tokens)[0], model.features(tokens)[0])


def test_a_bundle_starts_a_classifier_of_other_targets(tmp_path: Path, make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    bundle.save(tmp_path / "bundle")
    fresh = build(bundle.model.config())
    other = make_bundle(num_targets=5).model
    assert not same(weights(other.stem), weights(bundle.model.stem))
    for classifier in (fresh.eval(), other):
        init_from(classifier, load_trained(tmp_path / "bundle"))
        tokens = torch.randint(0, 5, (2, 64))
        assert torch.equal(classifier.features(tokens)[0], bundle.model.features(tokens)[0])


def test_what_is_taken_over_is_a_copy() -> None:
    model = transformer_xl_lm(**SIZES)
    classifier = transformer_xl(2, causal=True, **SIZES)
    init_from(classifier, model)
    before = weights(model)
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.add_(1)
    assert same(weights(model), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"causal": False}, "the trained model's encoder has causal True, and the classifier's causal False"),
        ({"layers": 3}, "the trained model's encoder has layers 2, and the classifier's layers 3"),
        ({"alphabet": "protein"}, "the trained model's embedding has alphabet 'dna', and the classifier's alphabet"),
    ],
)
def test_parts_of_other_sizes_are_named_and_nothing_is_copied(options: dict[str, object], message: str) -> None:
    classifier = create_model("transformer_xl", num_targets=2, **SIZES | {"causal": True} | options)
    before = weights(classifier)
    with pytest.raises(AssemblyError, match=message):
        init_from(classifier, transformer_xl_lm(**SIZES))
    assert same(weights(classifier), before)


def test_parts_that_are_missing_or_of_another_kind_are_named() -> None:
    model = transformer_xl_lm(**SIZES)
    with pytest.raises(AssemblyError, match="the trained model's stem is none, and the classifier's a ProtCNNStem"):
        init_from(protcnn(2, "dna", 8, 4), MaskedResidueLM(OneHotEmbedding("dna"), None, None))
    with pytest.raises(AssemblyError, match="embedding is a LearnedEmbedding, and the classifier's a OneHotEmbedding"):
        init_from(protcnn(2, "dna", 8, 4), model)
    with pytest.raises(AssemblyError, match="a KmerLogisticRegression has no embedding, stem and encoder"):
        init_from(create_model("kmer_logreg", num_targets=2), model)
    recurrent = SequenceClassifier(OneHotEmbedding(), None, BiLSTMEncoder(4, 6), LinearHead(6, 2, MaxPool()), None)
    with pytest.raises(AssemblyError, match="encoder is none, and the classifier's a BiLSTMEncoder"):
        init_from(recurrent, create_model("kmer_logreg", num_targets=2))
    vectors = create_model("embedding_mlp", num_targets=2, vector_size=8)
    with pytest.raises(AssemblyError, match="nothing before the head is learned"):
        init_from(vectors, create_model("embedding_mlp", num_targets=3, vector_size=8))


@register_block
class Grown(BiLSTMEncoder):
    """An encoder that says nothing of a weight that it was given later."""


def test_weights_of_other_shapes_are_named_though_the_arguments_agree() -> None:
    def classifier() -> SequenceClassifier:
        return SequenceClassifier(OneHotEmbedding(), None, Grown(4, 6), LinearHead(6, 2, MaxPool()), None)

    one, other = classifier(), classifier()
    other.encoder.extra = torch.nn.Parameter(torch.zeros(3))
    before = weights(one)
    with pytest.raises(AssemblyError, match=r"extra of the trained model's encoder is of shape \(3,\), and the class"):
        init_from(one, other)
    assert same(weights(one), before)


@pytest.fixture
def language_model(tmp_path: Path) -> Path:
    save_language_model(transformer_xl_lm(**SIZES), tmp_path / "lm", {"seed": 0})
    return tmp_path / "lm"


def fit(store: Store, out: Path, *options: str) -> None:
    few = ("--evaluate=false", "--trainer.max_epochs=1", "--trainer.precision=32-true", "--data.batch_size=64")
    arguments = ["fit", f"--data.store={store.path}", f"--out={out}", *few, *OPTIONS, *options]
    run_experiment(transformer_xl, name="test", arguments=arguments)


def test_fit_starts_from_a_language_model_and_says_so(
    make_store: Callable[..., Store], language_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store(120, window=32)
    # At a learning rate of zero a model stays what it was at the start.
    still = "--recipe.learning_rate=0"
    fit(store, tmp_path / "run", f"--init_from={language_model}", still)
    assert f"starts from {language_model}: embedding, encoder; fresh: head" in " ".join(capsys.readouterr().err.split())
    bundle, trained = Bundle.load(tmp_path / "run" / "bundle"), load_trained(language_model)
    tokens = torch.randint(0, 5, (2, 32))
    assert torch.equal(bundle.model.features(tokens)[0], trained.features(tokens)[0])
    saved = json.loads((language_model / "config.json").read_text())
    assert bundle.provenance["init_from"] == {
        "path": str(language_model),
        "weights_sha256": saved["weights_sha256"],
        "taken": ["embedding", "encoder"],
        "fresh": ["head"],
    }
    fit(store, tmp_path / "tuned", f"--init_from={tmp_path / 'run' / 'bundle'}", still)
    tuned = Bundle.load(tmp_path / "tuned" / "bundle")
    assert torch.equal(tuned.model.features(tokens)[0], trained.features(tokens)[0])


def test_a_run_that_is_resumed_began_with_the_same_weights_wherever_they_stand(
    make_store: Callable[..., Store], language_model: Path, tmp_path: Path
) -> None:
    store = make_store(120, window=32)
    fit(store, tmp_path / "run", f"--init_from={language_model}")
    shutil.copytree(language_model, tmp_path / "moved")
    again = ("--resume", "--trainer.max_epochs=2")
    fit(store, tmp_path / "run", f"--init_from={tmp_path / 'moved'}", *again)
    save_language_model(transformer_xl_lm(**SIZES), language_model, {"seed": 1}, force=True)
    with pytest.raises(TrainingError, match="initial weights"):
        fit(store, tmp_path / "run", f"--init_from={language_model}", *again)
    with pytest.raises(TrainingError, match="initial weights"):
        fit(store, tmp_path / "run", *again)


def test_fit_refuses_what_cannot_be_started_from_before_it_writes(
    make_store: Callable[..., Store], language_model: Path, tmp_path: Path
) -> None:
    store = make_store(60, window=32)
    with pytest.raises(BundleError, match="this is not a language model or a bundle"):
        fit(store, tmp_path / "run", f"--init_from={tmp_path / 'nothing'}")
    with pytest.raises(AssemblyError, match="encoder has layers 2, and the classifier's layers 1"):
        fit(store, tmp_path / "run", f"--init_from={language_model}", "--model.layers=1")
    assert not list(tmp_path.glob("run/*"))


def test_a_run_does_not_replace_the_one_that_it_starts_from(make_store: Callable[..., Store], tmp_path: Path) -> None:
    store = make_store(120, window=32)
    fit(store, tmp_path / "run")
    with pytest.raises(SeqclassError, match="which is to be read, so it is not replaced"):
        fit(store, tmp_path / "run", "--force", f"--init_from={tmp_path / 'run' / 'bundle'}")


def test_the_command_line_takes_the_option(
    make_store: Callable[..., Store], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store(60, window=32)
    command = ["fit", "--model", "transformer_xl", f"--data.store={store.path}", f"--out={tmp_path / 'run'}"]
    with pytest.raises(SystemExit) as stop:
        main([*command, f"--init_from={tmp_path / 'nothing'}"])
    assert stop.value.code == 2
    assert "this is not a language model or a bundle" in " ".join(capsys.readouterr().err.split())
