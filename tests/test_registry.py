"""What every registered model promises, whatever it is made of."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.export import Dim, export

from seqclass.alphabets import get_alphabet
from seqclass.blocks import build
from seqclass.blocks.masking import MaskedBatchNorm
from seqclass.bundle import Bundle
from seqclass.errors import AssemblyError
from seqclass.models import Classifier, create_model, list_models
from seqclass.models.strands import reverse_complement
from seqclass.predict import probabilities
from seqclass.targets import Target

TARGETS = 3
STEM = {"channels": 16, "widths": (16, 32), "strides": (2, 2), "expansion": 4, "hidden": 12}
ATTENTION = {"layers": 2, "heads": 2, "head_size": 4, "inner": 8}
TRUNK = {"channels": 16, "bottleneck": 8, "dilations": (1, 3)}
BERT = {"layers": 2, "heads": 2, "inner": 24, "encoder_dropout": 0.0}
LAYERS = {"layers": 2, "width": 16, "heads": 2, "inner": 24}

TINY: dict[str, tuple[str, dict[str, Any]]] = {
    "wrn": ("wrn", STEM | {"length": 48}),
    "wrn-any-length": ("wrn", STEM | {"pool": "centre-max", "bin": 16, "embedding": "one-hot"}),
    "wrn_bilstm": ("wrn_bilstm", STEM | {"length": 48, "units": 6}),
    "wrn_bilstm-any-length": ("wrn_bilstm", STEM | {"pool": "centre-max", "units": 6, "directions": "concatenate"}),
    "wrn_transformer_xl": ("wrn_transformer_xl", STEM | ATTENTION | {"length": 48}),
    "wrn_transformer_xl-causal": ("wrn_transformer_xl", STEM | ATTENTION | {"pool": "centre-max", "causal": True}),
    "wrn_transformer_xl-protein": (
        "wrn_transformer_xl",
        STEM | ATTENTION | {"pool": "centre-max", "alphabet": "protein"},
    ),
    "deepsea": ("deepsea", {"length": 200, "widths": (8, 12, 16), "hidden": 10}),
    "beluga": ("beluga", {"length": 400, "widths": (8, 12, 16), "hidden": 10}),
    "danq": ("danq", {"length": 100, "channels": 8, "units": 6, "hidden": 10}),
    "protcnn": ("protcnn", TRUNK),
    "protcnn-dna": ("protcnn", TRUNK | {"alphabet": "dna"}),
    "protcnn_small": ("protcnn_small", {}),
    "protenn": ("protenn", TRUNK | {"members": 3}),
    "protenn-majority": ("protenn", TRUNK | {"members": 3, "vote": "majority"}),
    "kmer_logreg": ("kmer_logreg", {"k": 3}),
    "kmer_logreg-protein": ("kmer_logreg", {"alphabet": "protein"}),
    "embedding_mlp": ("embedding_mlp", {"vector_size": 12, "hidden": (10, 8)}),
    "light_attention": ("light_attention", {"vector_size": 12, "hidden": 8}),
    "wrn_bert": ("wrn_bert", STEM | BERT | {"length": 48}),
    "wrn_bert-any-length": ("wrn_bert", STEM | BERT | {"pool": "centre-max"}),
    "protbert": ("protbert", LAYERS | {"positions": 90, "pool": "cls"}),
    "esm2": ("esm2", LAYERS),
    "prott5": ("prott5", LAYERS | {"head_size": 8}),
    "transformer_xl": ("transformer_xl", {"layers": 2, "channels": 16, "heads": 2, "head_size": 8, "inner": 24}),
}


# Tracing takes a second and more: two models always, all of them among the slow tests.
TRACED = [
    key if key in ("wrn_transformer_xl-causal", "protcnn") else pytest.param(key, marks=pytest.mark.slow)
    for key in TINY
]


def make(key: str) -> Classifier:
    """A small model in evaluation mode, with batch-norm statistics that are not the initial ones."""
    name, options = TINY[key]
    model = create_model(name, num_targets=TARGETS, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1)
        model(inputs(model, 16))
    return model.eval()


def inputs(model: Classifier, batch: int, length: int | None = None) -> Tensor:
    """Random input; of tokens a few are unknown."""
    length = length or model.length or 60
    if model.vector_size is not None:
        return torch.randn(batch, length, model.vector_size)
    tokens = torch.randint(0, len(get_alphabet(model.alphabet).letters), (batch, length), dtype=torch.uint8)
    return tokens.masked_fill(torch.rand(batch, length) < 0.05, get_alphabet(model.alphabet).unknown_token)


def ragged(lengths: list[int], width: int) -> Tensor:
    return torch.arange(width) < torch.tensor(lengths).unsqueeze(1)


@pytest.fixture(params=TINY)
def model(request: pytest.FixtureRequest) -> Classifier:
    return make(request.param)


def test_every_registered_model_is_tested_here() -> None:
    untested = sorted(set(list_models()) - {name for name, _ in TINY.values()})
    assert not untested, f"TINY lacks {', '.join(untested)}: add a line for each, with options that make it small"


def test_logits_are_finite_and_one_a_target(model: Classifier) -> None:
    logits = model(inputs(model, 4))
    assert logits.shape == (4, TARGETS)
    assert logits.isfinite().all()


def test_tokens_and_soft_letters_give_the_same_logits(model: Classifier) -> None:
    if model.input_kind == "vectors":
        pytest.skip("takes vectors")
    size = len(get_alphabet(model.alphabet).letters)
    tokens = inputs(model, 3)
    letters = torch.cat([torch.eye(size), torch.full((1, size), 1 / size)])[tokens.long()]
    torch.testing.assert_close(model(tokens), model(letters), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model(tokens), model(tokens.long()))


def test_every_parameter_gets_a_gradient(model: Classifier) -> None:
    model.train()
    for _ in range(3):
        model(inputs(model, 16)).square().sum().backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not missing


@pytest.mark.parametrize("length", [20, 33, 60])
def test_padding_and_batch_mates_change_no_logit(model: Classifier, length: int) -> None:
    if model.length is not None:
        pytest.skip("takes one length, so that there is no padding")
    batch = inputs(model, 3, 70)
    mask = ragged([length, 70, 41], 70)
    alone = model(batch[:1, :length])
    torch.testing.assert_close(model(batch, mask)[:1], alone, rtol=1e-4, atol=1e-5)
    behind = batch.clone()
    behind[:, length:] = inputs(model, 3, 70)[:, length:]
    assert torch.equal(model(behind, mask)[0], model(batch, mask)[0])


def test_padding_leaves_training_statistics_alone(model: Classifier) -> None:
    if model.length is not None or not any(isinstance(part, MaskedBatchNorm) for part in model.modules()):
        pytest.skip("has no padding, or no batch normalisation")
    again = build(model.config())
    again.load_state_dict(model.state_dict())
    batch = inputs(model, 6, 40)
    train_without_dropout(model, batch, None)
    train_without_dropout(again, torch.cat([batch, inputs(model, 6, 13)], dim=1), ragged([40] * 6, 53))
    for (name, one), (_, two) in zip(model.named_buffers(), again.named_buffers(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5, msg=name)


def share_a_batch(rank: int, folder: str) -> None:
    """One of two processes: its part of each model's batch, and the statistics that come of it."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    kept = {}
    for key, (config, weights, batch, mask) in torch.load(f"{folder}/batches.pt").items():
        model = build(config)
        model.load_state_dict(weights)
        part = slice(0, 3) if rank == 0 else slice(3, 8)
        train_without_dropout(model, batch[part], None if mask is None else mask[part])
        kept[key] = dict(model.named_buffers())
    torch.save(kept, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def train_without_dropout(model: Classifier, batch: Tensor, mask: Tensor | None) -> None:
    model.train()
    for layer in model.modules():
        if "Dropout" in type(layer).__name__:
            layer.eval()
    model(batch, mask)


@pytest.mark.slow
def test_two_processes_see_the_statistics_of_the_whole_batch(tmp_path: Path) -> None:
    batches, expected = {}, {}
    for key in TINY:
        model = make(key)
        if not any(isinstance(part, MaskedBatchNorm) for part in model.modules()):
            continue
        batch = inputs(model, 8)
        mask = None if model.length else ragged([60, 31, 44, 25, 60, 38, 52, 29], 60)
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        batches[key] = (model.config(), weights, batch, mask)
        train_without_dropout(model, batch, mask)
        expected[key] = dict(model.named_buffers())
    torch.save(batches, tmp_path / "batches.pt")
    torch.multiprocessing.spawn(share_a_batch, args=(str(tmp_path),), nprocs=2)
    for rank in (0, 1):
        kept = torch.load(tmp_path / f"{rank}.pt")
        assert set(kept) == set(expected)
        for key, buffers in expected.items():
            for name, value in buffers.items():
                torch.testing.assert_close(kept[key][name], value, rtol=1e-3, atol=1e-4, msg=f"{key}: {name}")


def test_a_model_is_rebuilt_from_json_with_the_same_logits(model: Classifier) -> None:
    config = json.loads(json.dumps(model.config()))
    again = build(config).eval()
    assert again.config() == config
    again.load_state_dict(model.state_dict())
    batch = inputs(model, 2)
    assert torch.equal(again(batch), model(batch))


def test_bundles_give_the_same_bits_in_a_new_process(tmp_path: Path) -> None:
    batches = {}
    for key in TINY:
        model = make(key)
        Bundle(model, [Target(f"t{i}") for i in range(TARGETS)], [1] * TARGETS).save(tmp_path / key)
        batch = inputs(model, 3)
        with torch.inference_mode():
            batches[key] = (batch, model(batch))
    torch.save({key: batch for key, (batch, _) in batches.items()}, tmp_path / "batches.pt")
    script = (
        "import torch, seqclass\n"
        f"torch.set_num_threads({torch.get_num_threads()})\n"
        "with torch.inference_mode():\n"
        "    out = {key: seqclass.load(key).model(x) for key, x in torch.load('batches.pt').items()}\n"
        "torch.save(out, 'logits.pt')\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    for key, logits in torch.load(tmp_path / "logits.pt").items():
        assert torch.equal(logits, batches[key][1]), key


@pytest.mark.parametrize("key", TRACED)
def test_compiled_models_give_the_same_logits(key: str) -> None:
    torch._dynamo.reset()
    model = make(key)
    batch = inputs(model, 3)
    compiled = torch.compile(model, backend="aot_eager")
    torch.testing.assert_close(compiled(batch), model(batch), rtol=1e-4, atol=1e-5)
    compiled(batch).sum().backward()


@pytest.mark.slow
@pytest.mark.parametrize("key", ["wrn_transformer_xl", "protcnn"])
def test_inductor_gives_the_same_logits(key: str) -> None:
    torch._dynamo.reset()
    model = make(key)
    batch = inputs(model, 3)
    torch.testing.assert_close(torch.compile(model)(batch), model(batch), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("key", TRACED)
def test_an_exported_model_takes_other_batches_and_lengths_or_says_why_not(key: str, masked: bool) -> None:
    model = make(key)
    if masked and model.length is not None:
        pytest.skip("takes one length, so that there is no padding")
    any_number = {0: Dim.DYNAMIC} | ({} if model.length else {1: Dim.DYNAMIC})
    example = (inputs(model, 3, model.length or 46), *([ragged([46, 30, 39], 46)] if masked else []))
    if any(isinstance(part, torch.nn.LSTM) for part in model.modules()) and model.length is None:
        with pytest.raises(AssemblyError, match="LSTM cannot be exported for sequences of more than one length"):
            export(model, example, dynamic_shapes=(any_number,) * len(example))
        return
    program = export(
        model,
        example,
        dynamic_shapes=(any_number,) * len(example),
        prefer_deferred_runtime_asserts_over_guards=True,
    ).module()
    for length in [model.length] if model.length else [41, 64, 83]:
        other = (inputs(model, 5, length), *([ragged([length, 40, 33, length, 29], length)] if masked else []))
        torch.testing.assert_close(program(*other), model(*other), rtol=1e-4, atol=1e-5)


def test_half_precision_stays_close_to_single(model: Classifier) -> None:
    batch = inputs(model, 8)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(batch)
    torch.testing.assert_close(torch.sigmoid(rough.float()), torch.sigmoid(model(batch)), rtol=0.05, atol=0.03)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_and_cpu_agree(model: Classifier) -> None:
    batch = inputs(model, 8)
    with torch.backends.cudnn.flags(allow_tf32=False):
        there = model.cuda()(batch.cuda()).cpu()
    torch.testing.assert_close(there, model.cpu()(batch), rtol=1e-3, atol=1e-3)


def test_predictions_are_the_same_from_either_strand(model: Classifier) -> None:
    if model.input_kind == "vectors" or model.alphabet != "dna":
        pytest.skip("has no strands")
    bundle = Bundle(model, [Target(f"t{i}") for i in range(TARGETS)], [1] * TARGETS)
    batch = inputs(model, 3)
    soft = torch.rand(*batch.shape, 4).softmax(dim=-1)
    for mask in [None] if model.length else [None, ragged([60, 31, 44], 60)]:
        for x in (batch, soft):
            here, there = (probabilities(bundle, strand, mask) for strand in (x, reverse_complement(x, mask)))
            assert torch.equal(here, there)
            assert 0 < here.min() < here.max() < 1


def test_positions_of_each_layer_span_the_sequence(model: Classifier) -> None:
    layers = model.sequence_layers()
    assert layers
    length = model.length or 60
    batch = inputs(model, 1, length)
    for name, (stride, offset) in layers.items():
        shapes: list[int] = []

        def note(_: object, __: object, output: tuple[Tensor, object], shapes: list[int] = shapes) -> None:
            shapes.append(output[0].shape[1])

        hook = model.get_submodule(name).register_forward_hook(note)
        model(batch)
        hook.remove()
        first, last = offset, offset + stride * (shapes[-1] - 1)
        assert 0 <= first <= last <= length - 1 + stride
        assert abs(first - (length - 1 - last)) <= 2 * stride


def test_a_token_outside_the_alphabet_is_named(model: Classifier) -> None:
    if model.input_kind == "vectors":
        with pytest.raises(AssemblyError, match=r"shape \(2, 60, 5\), where \(batch, length, 12\) vectors are"):
            model(torch.randn(2, 60, 5))
        with pytest.raises(AssemblyError, match="vectors are expected"):
            model(torch.zeros(2, 60, 12, dtype=torch.uint8))
        return
    batch, unknown = inputs(model, 2), get_alphabet(model.alphabet).unknown_token
    batch[1, 7] = unknown + 1
    with pytest.raises(AssemblyError, match=f"token {unknown + 1}, where {model.alphabet} has 0 to {unknown}"):
        model(batch)
    with pytest.raises(AssemblyError, match="token -1, where"):
        model(batch.long().clamp_max(0) - 1)
    with pytest.raises(AssemblyError, match="soft letters are expected"):
        model(torch.rand(2, model.length or 60, 3))


def test_weights_of_another_model_are_listed(model: Classifier) -> None:
    weights = model.state_dict()
    name = next(iter(weights))
    with pytest.raises(AssemblyError, match=rf'Missing key.*"{name}"'):
        model.load_state_dict({key: value for key, value in weights.items() if key != name})
    with pytest.raises(AssemblyError, match=rf"size mismatch for {name}"):
        model.load_state_dict(weights | {name: torch.zeros(1, 2, 3)})
