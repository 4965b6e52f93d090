"""Assemblies that cannot be: refused when they are built, in one sentence that names both sides."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from test_registry import TARGETS, TINY, inputs, make

from seqclass.blocks import (
    AttentionPool,
    Block,
    CentreMax,
    DenseHead,
    Flatten,
    Head,
    LearnedEmbedding,
    LightAttention,
    LinearHead,
    MaxPool,
    OneHotEmbedding,
    TransformerXLEncoder,
    WideResNetStem,
)
from seqclass.cli import main
from seqclass.data.store import Store
from seqclass.errors import AssemblyError, SeqclassError, UnknownNameError
from seqclass.models import Classifier, SequenceClassifier, create_model, get_model, list_models

UNLIKELY: dict[str, list[Any]] = {
    "Sequence[int]": [(), (0,), (-1, 2), (0, 0), 3, "many"],
    "int": [0, -1, -7, "many"],
    "float": [-0.5, 1.0, 1.5, "much"],
    "Kind": ["nonsense"],
    "Literal": ["nonsense"],
    "str": ["nonsense"],
}


def stem(in_channels: int = 4) -> WideResNetStem:
    return WideResNetStem(in_channels, 8, (64, 256), (2, 2), 2)


def encoder(channels: int) -> TransformerXLEncoder:
    return TransformerXLEncoder(channels, 1, 2, 4, 8)


def head(channels: int) -> Head:
    return LinearHead(channels, 3, MaxPool())


def attempt(key: str, **options: Any) -> Classifier | SeqclassError:
    """A small model with these options, or why it cannot be."""
    name, usual = TINY[key]
    try:
        return create_model(name, **{"num_targets": TARGETS} | usual | options)
    except SeqclassError as error:
        return error


@pytest.mark.parametrize(
    ("parts", "skip", "sentence"),
    [
        ((stem(5), None, head(256)), None, "embedding gives 4 channels, stem expects 5"),
        ((None, encoder(6), head(6)), None, "embedding gives 4 channels, encoder expects 6"),
        ((None, None, head(20)), None, "embedding gives 4 channels, head expects 20"),
        ((stem(), encoder(128), head(256)), None, "stem leaves 256 channels, encoder expects 128"),
        ((stem(), None, head(512)), None, "stem leaves 256 channels, head expects 512"),
        ((stem(), None, head(512)), "concatenate", "stem leaves 256 channels, head expects 512"),
        ((stem(), encoder(256), head(512)), None, "encoder leaves 256 channels, head expects 512"),
        ((stem(), encoder(256), head(512)), "add", "stem and encoder leave 256 channels, head expects 512"),
        ((stem(), encoder(256), head(256)), "concatenate", "stem and encoder leave 512 channels, head expects 256"),
    ],
)
def test_neighbours_that_do_not_fit_are_both_named(
    parts: tuple[Block | None, Block | None, Head], skip: Any, sentence: str
) -> None:
    with pytest.raises(AssemblyError, match=f"^{sentence}. Give both the same number of channels.$"):
        SequenceClassifier(OneHotEmbedding(), *parts, skip)


@pytest.mark.parametrize("pool", [AttentionPool, LightAttention])
def test_a_pooling_of_another_width_than_its_head_is_named(pool: Callable[[int], Any]) -> None:
    with pytest.raises(AssemblyError, match=f"256 channels reach the head, its {pool.__name__} expects 128"):
        DenseHead(256, 3, pool(128))


def test_an_encoder_with_too_few_positions_for_what_the_stem_leaves_is_refused() -> None:
    name, options = TINY["wrn_bert"]
    sentence = "48 residues reach the encoder as 12 positions, and it takes 11"
    with pytest.raises(AssemblyError, match=sentence):
        create_model(name, num_targets=1, **options | {"positions": 11})
    assert create_model(name, num_targets=1, **options | {"positions": 12}).length == 48


def test_a_sequence_longer_than_the_positions_of_an_encoder_is_refused_naming_both() -> None:
    model = make("protbert")
    assert model(inputs(model, 2, 88)).isfinite().all()
    with pytest.raises(AssemblyError, match=r"a sequence of 89 positions, where .* takes 88"):
        model(inputs(model, 2, 89))


@pytest.mark.parametrize(("key", "width"), [("wrn_bert", 32), ("protbert", 16), ("esm2", 16)])
def test_heads_that_do_not_divide_the_width_are_refused_naming_both(key: str, width: int) -> None:
    name, options = TINY[key]
    with pytest.raises(AssemblyError, match=rf"\({width}\) is not a multiple of the number of attention heads \(3\)"):
        create_model(name, num_targets=1, **options | {"heads": 3})


@pytest.mark.parametrize("key", [key for key in TINY if "length" in TINY[key][1]])
def test_a_length_is_reduced_to_some_positions_or_refused_when_built(key: str) -> None:
    name, options = TINY[key]
    length, found = 1, attempt(key, length=1)
    while isinstance(found, SeqclassError):
        assert f"{length} residues, of which the stem" in str(found)
        least = int(str(found).split("at least ")[1].split(".")[0])
        length += 1
        found = attempt(key, length=length)
        assert isinstance(found, Classifier) == (length == least)
    assert found.eval()(inputs(found, 2)).isfinite().all()
    with pytest.raises(AssemblyError):
        create_model(name, num_targets=1, **options | {"length": 0})


def unlikely_options(name: str) -> Iterator[dict[str, Any]]:
    """Each of a model's options by itself, with values that make no sense or little, by its type."""
    for key, argument in inspect.signature(get_model(name)).parameters.items():
        kind = next((kind for kind in UNLIKELY if kind in str(argument.annotation)), None)
        # A checkpoint would be asked for at the hub.
        if kind is not None and key != "pretrained":
            yield from ({key: value} for value in UNLIKELY[kind])


@pytest.mark.parametrize("key", TINY)
def test_an_option_out_of_range_is_one_error_or_gives_a_model_that_works(key: str) -> None:
    refused = 0
    for unlikely in unlikely_options(TINY[key][0]):
        model = attempt(key, **unlikely)
        if isinstance(model, SeqclassError):
            assert model.remedy
            refused += 1
        else:
            logits = model.train()(inputs(model, 4))
            assert logits.isfinite().all(), unlikely
            logits.sum().backward()
    assert refused >= 4


@pytest.mark.parametrize("key", TINY)
def test_no_targets_and_options_that_do_not_exist_are_refused(key: str) -> None:
    name, options = TINY[key]
    for number in (0, -3):
        with pytest.raises(AssemblyError, match=f"{number} targets"):
            create_model(name, **options | {"num_targets": number})
    with pytest.raises(AssemblyError, match=rf"model {name} cannot be built so .*'shoe_size'.* See help\("):
        create_model(name, num_targets=1, **options, shoe_size=43)
    with pytest.raises(UnknownNameError, match="alphabet 'rna'"):
        create_model(name, **options | {"num_targets": 1, "alphabet": "rna"})


@pytest.mark.parametrize("name", list_models())
def test_a_misspelt_model_gets_the_right_name_suggested(name: str) -> None:
    middle = len(name) // 2
    misspelt = f"{name[:middle]}#{name[middle + 1 :]}"
    with pytest.raises(UnknownNameError, match=rf"no model '{misspelt}'.* Did you mean .*\b{name}\b"):
        create_model(misspelt, num_targets=1)


def test_all_that_is_wrong_with_weights_is_listed() -> None:
    model = make("wrn")
    own = {name: value.clone() for name, value in model.state_dict().items()}
    names = [name for name in own if name.startswith("head.")]
    given = {name: value for name, value in own.items() if name not in names[:2]}
    given[names[2]] = torch.zeros(7)
    given["foreign.weight"] = torch.zeros(1)
    given["stem.norm.bias"] = torch.zeros(1, 1)
    with pytest.raises(AssemblyError) as caught:
        model.load_state_dict(given)
    for name in (*names[:3], "foreign.weight", "stem.norm.bias"):
        assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("Build the model with the options it was trained with.")
    untouched = set(own) - {*names[:3], "stem.norm.bias"}
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in own.items() if name in untouched)


def test_channels_first_letters_are_told_from_ours() -> None:
    model = make("wrn")
    with pytest.raises(
        AssemblyError, match=r"shape \(2, 4, 48\), where \(batch, length, 4\) soft letters .* as_channels_first"
    ):
        model(torch.rand(2, 4, 48))
    for shape in [(48,), (2, 1, 48), (2, 48, 4)]:
        with pytest.raises(AssemblyError, match=rf"shape {re.escape(str(shape))}, where \(batch, length\) tokens"):
            model(torch.zeros(shape, dtype=torch.uint8))


def test_lengths_and_bins_without_residues_are_refused() -> None:
    for block, sentence in (
        (lambda: Flatten(0), "flattens 0 positions"),
        (lambda: CentreMax(0), "a centre of 0 positions"),
        (lambda: LearnedEmbedding(0), "an embedding of 0 channels"),
    ):
        with pytest.raises(AssemblyError, match=sentence):
            block()


def test_the_command_line_refuses_lightnings_batch_norm_conversion_in_a_sentence(
    make_store: Callable[..., Store],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["fit", "--model", "kmer_logreg", "--data.store", str(make_store().path), "--trainer.sync_batchnorm"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "true"])
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert "already shares its statistics. Leave out --trainer.sync_batchnorm." in told
    assert not Path("runs").exists()
