"""The Transformer-XL encoder against transformers' TransfoXL, against its formula, and with its memory."""

import copy
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from seqclass.blocks import TransformerXLEncoder, build
from seqclass.blocks.relative_attention import RelativeAttention, distances, relative_shift, sinusoids
from seqclass.blocks.transformer_xl import Memory
from seqclass.errors import AssemblyError

VARIANTS: list[dict[str, Any]] = [
    {},
    {"causal": True},
    {"causal": True, "norm": "pre", "shared_biases": True},
    {"norm": "pre", "clamp_length": 3},
]


def encoder(**options: Any) -> TransformerXLEncoder:
    """Small, with no parameter at a value that hides its effect."""
    made = TransformerXLEncoder(**{"channels": 12, "layers": 3, "heads": 2, "head_size": 4, "inner": 16} | options)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, mean=float(parameter.dim() == 1), std=0.3)
    return made.eval()


def from_transformers(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """TransfoXL's weights under our names."""
    names = {
        "dec_attn.qkv_net": "attention.qkv",
        "dec_attn.r_net": "attention.position",
        "dec_attn.o_net": "attention.out",
        "dec_attn.layer_norm": "norm_attention",
        "dec_attn.r_w_bias": "attention.content_bias",
        "dec_attn.r_r_bias": "attention.position_bias",
        "pos_ff.CoreNet.0": "feed_forward.0",
        "pos_ff.CoreNet.3": "feed_forward.2",
        "pos_ff.layer_norm": "norm_feed_forward",
        "r_w_bias": "content_bias",
        "r_r_bias": "position_bias",
    }
    renamed = {}
    for key, weight in weights.items():
        for theirs, ours in names.items():
            if theirs in key:
                renamed[key.replace(theirs, ours)] = weight
                break
    assert len(renamed) == len(weights)
    return renamed


@pytest.mark.parametrize("case", ["post", "pre"])
def test_two_segments_equal_those_of_transformers(case: str) -> None:
    path = Path(__file__).parent / "golden" / "transfo_xl.safetensors"
    with safe_open(path, "pt") as file:
        sizes, options = json.loads(file.metadata()["sizes"]), json.loads(file.metadata()["cases"])[case]
    golden = {name.removeprefix(f"{case}."): value for name, value in load_file(path).items() if name.startswith(case)}
    ours = TransformerXLEncoder(
        sizes["d_model"],
        sizes["n_layer"],
        sizes["n_head"],
        sizes["d_head"],
        sizes["d_inner"],
        causal=True,
        norm="pre" if options["pre_lnorm"] else "post",
        shared_biases=not options["untie_r"],
        clamp_length=options["clamp_len"] if options["clamp_len"] > 0 else None,
        memory_length=sizes["mem_len"],
    ).eval()
    weights = {key.removeprefix("weight."): value for key, value in golden.items() if key.startswith("weight.")}
    ours.load_state_dict(from_transformers(weights))
    memory = ours.empty_memory(2)
    for number in (0, 1):
        y, mask, memory = ours(golden[f"{number}.input"], None, memory)
        assert mask is None
        assert memory.mask is None
        torch.testing.assert_close(y, golden[f"{number}.output"], rtol=0, atol=1e-5)
        torch.testing.assert_close(memory.states, golden[f"{number}.memory"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (2, 2), (5, 5), (1, 4), (3, 7)])
def test_relative_shift_puts_each_distance_in_its_place(queries: int, keys: int, causal: bool) -> None:
    apart = distances(queries, keys, causal, torch.device("cpu"))
    shifted = relative_shift(apart.expand(2, 3, queries, -1), keys)
    assert shifted.shape == (2, 3, queries, keys)
    for i in range(queries):
        for j in range(keys):
            distance = keys - queries + i - j
            assert (causal and distance < 0) or (shifted[:, :, i, j] == distance).all()


def by_the_formula(layer: RelativeAttention, x: Tensor, seen: Tensor, clamp: int) -> Tensor:
    """Relative attention of one sequence `(keys, channels)`, pair by pair; `seen` is `(queries, keys)`."""
    heads, size = layer.heads, layer.head_size
    query, key, value = (part.view(len(x), heads, size) for part in layer.qkv(x).split(heads * size, dim=1))
    result = torch.zeros(len(seen), heads, size)
    for head in range(heads):
        for row, visible in enumerate(seen):
            i = len(x) - len(seen) + row
            scores, values = [], []
            for j in visible.nonzero().flatten().tolist():
                distance = torch.tensor([max(-clamp, min(clamp, i - j))])
                relative = layer.position(sinusoids(distance, x.shape[1])).view(heads, size)[head]
                content = (query[i, head] + layer.content_bias[head]) @ key[j, head]
                scores.append((content + (query[i, head] + layer.position_bias[head]) @ relative) / size**0.5)
                values.append(value[j, head])
            result[row, head] = torch.stack(scores).softmax(dim=0) @ torch.stack(values)
    return layer.out(result.flatten(1))


@pytest.mark.parametrize("options", [{}, {"causal": True}, {"clamp_length": 2}])
@pytest.mark.parametrize("kept", [0, 3])
def test_attention_with_memory_and_masks_equals_the_formula_pair_by_pair(options: dict[str, Any], kept: int) -> None:
    one = encoder(layers=1, **options)
    past, x = torch.randn(2, kept, 12), torch.randn(2, 5, 12)
    remembered = torch.arange(kept) >= torch.tensor([[0], [2]])
    mask = torch.arange(5) < torch.tensor([[4], [5]])
    got, _, _ = one(x, mask, Memory(past.unsqueeze(0), remembered))
    layer = one.layers[0]
    for sample in range(2):
        seen = torch.cat([remembered, mask], dim=1)[sample].expand(5, -1)
        if one.causal:
            seen = seen & (torch.arange(kept + 5) <= kept + torch.arange(5).unsqueeze(1))
        both = torch.cat([past[sample], x[sample]])
        y = by_the_formula(layer.attention, both, seen, options.get("clamp_length", 99))
        y = layer.norm_attention(x[sample] + y)
        torch.testing.assert_close(got[sample], layer.norm_feed_forward(y + layer.feed_forward(y)))


@pytest.mark.parametrize("causal", [True, False])
def test_only_a_causal_encoder_sees_nothing_that_comes_later(causal: bool) -> None:
    x = torch.randn(2, 12, 12)
    changed = x.clone()
    changed[:, 7:] += 1
    one = encoder(causal=causal)
    same = torch.isclose(one(x)[0], one(changed)[0]).all(dim=2).all(dim=0)
    assert same.tolist() == [causal] * 7 + [False] * 5


def in_segments(one: TransformerXLEncoder, x: Tensor, cuts: list[list[int]]) -> list[Tensor]:
    """Each sequence of `x` read between its own cuts, in ragged segments with rubbish behind their ends."""
    memory = one.empty_memory(len(x))
    read: list[list[Tensor]] = [[] for _ in cuts]
    for parts in zip(*(pairwise(places) for places in cuts), strict=True):
        lengths = torch.tensor([end - start for start, end in parts])
        segment = torch.randn(len(x), int(lengths.max()) + 2, x.shape[2])
        mask = torch.arange(segment.shape[1]) < lengths.unsqueeze(1)
        for sample, (start, end) in enumerate(parts):
            segment[sample, : end - start] = x[sample, start:end]
        y, same, memory = one(segment, mask, memory)
        assert same is mask
        for sample, length in enumerate(lengths.tolist()):
            read[sample].append(y[sample, :length])
    return [torch.cat(pieces) for pieces in read]


@pytest.mark.parametrize("options", [{}, {"norm": "pre", "shared_biases": True}, {"clamp_length": 4}])
@pytest.mark.parametrize("size", [1, 5, 8, 24])
def test_a_causal_pass_in_segments_equals_one_over_the_whole(options: dict[str, Any], size: int) -> None:
    one, x = encoder(causal=True, memory_length=24, **options), torch.randn(3, 24, 12)
    memory, pieces = one.empty_memory(3), []
    for segment in x.split(size, dim=1):
        y, _, memory = one(segment, None, memory)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, dim=1), one(x)[0], rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_a_causal_pass_in_ragged_segments_equals_one_over_each_sequence(data: st.DataObject) -> None:
    one = encoder(causal=True, memory_length=20, layers=2)
    segments = data.draw(st.integers(1, 4))
    lengths = data.draw(st.lists(st.integers(1, 20), min_size=1, max_size=3))
    cuts = []
    for length in lengths:
        inner = data.draw(st.lists(st.integers(0, length), min_size=segments - 1, max_size=segments - 1))
        cuts.append([0, *sorted(inner), length])
    x = torch.randn(len(lengths), 20, 12)
    for sample, y in enumerate(in_segments(one, x, cuts)):
        whole, _ = one(x[sample : sample + 1, : lengths[sample]])
        torch.testing.assert_close(y, whole[0], rtol=1e-4, atol=1e-5)


def test_memory_keeps_the_last_real_positions_and_no_gradient() -> None:
    one = encoder(memory_length=4)
    x = torch.arange(12.0).view(1, 12, 1).expand(2, 12, 12).clone().requires_grad_()
    mask = torch.arange(6) < torch.tensor([[6], [3]])
    _, _, memory = one(x[:, :6], mask, one.empty_memory(2))
    assert memory.states[0, :, :, 0].tolist() == [[2, 3, 4, 5], [5, 0, 1, 2]]
    assert memory.mask.tolist() == [[True] * 4, [False, True, True, True]]
    _, _, memory = one(x[:, 6:8], None, memory)
    assert memory.states[0, :, :, 0].tolist() == [[4, 5, 6, 7], [1, 2, 6, 7]]
    assert memory.mask.all()
    assert not memory.states.requires_grad


def test_a_memory_of_no_length_forgets_all() -> None:
    one, x = encoder(memory_length=0), torch.randn(2, 5, 12)
    _, _, memory = one(x, None, one.empty_memory(2))
    assert memory.states.shape == (3, 2, 0, 12)
    torch.testing.assert_close(one(x, None, memory)[0], one(x)[0])


def test_no_memory_asked_for_none_given_and_an_empty_one_changes_nothing() -> None:
    one, x = encoder(), torch.randn(2, 5, 12)
    assert len(one(x)) == len(one(x, None)) == len(one(x, None, memory=None)) == 2
    y, mask, memory = one(x, None, memory=one.empty_memory(2))
    assert mask is None
    assert torch.equal(y, one(x)[0])
    assert torch.equal(memory.states[0], x)


@pytest.mark.parametrize("options", VARIANTS)
def test_what_the_memory_mask_hides_changes_nothing(options: dict[str, Any]) -> None:
    one, x = encoder(**options), torch.randn(3, 6, 12)
    states, mask = torch.randn(3, 3, 4, 12), torch.arange(4) >= torch.tensor([[2]] * 3)
    rubbish = torch.where(mask[None, :, :, None], states, 100.0)
    y = one(x, None, Memory(states, mask))[0]
    torch.testing.assert_close(one(x, None, Memory(rubbish, mask))[0], y)
    torch.testing.assert_close(one(x, None, Memory(states[:, :, 2:]))[0], y, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(one(x, None, Memory(rubbish))[0], y, atol=1e-2)


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("length", [1, 7, 12])
def test_padding_and_batch_mates_do_not_change_real_positions(options: dict[str, Any], length: int) -> None:
    one, x = encoder(**options), torch.randn(4, 17, 12)
    mask = torch.ones(4, 17, dtype=torch.bool)
    mask[0, length:] = False
    alone, none = one(x[:1, :length])
    y, same = one(x, mask)
    assert none is None
    assert same is mask
    torch.testing.assert_close(y[:1, :length], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", VARIANTS)
def test_a_sequence_without_residues_leaves_outputs_and_gradients_finite(options: dict[str, Any]) -> None:
    one = encoder(**options).train()
    x, mask = torch.randn(2, 6, 12), torch.arange(6) < torch.tensor([[6], [0]])
    y, _, memory = one(x, mask, one.empty_memory(2))
    y[0].square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in one.parameters())
    # Without gradients another kernel runs.
    with torch.inference_mode():
        inferred, _, again = one.eval()(x, mask, memory)
    assert all(tensor.isfinite().all() for tensor in (y, memory.states, inferred, again.states))


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_within_a_hundredth(options: dict[str, Any], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    one = TransformerXLEncoder(64, layers=3, heads=4, head_size=16, inner=64, **options).eval()
    for name, parameter in one.named_parameters():
        if name.endswith(("content_bias", "position_bias")):
            torch.nn.init.normal_(parameter, std=0.3)
    x, mask = torch.randn(4, 40, 64), torch.arange(40) < torch.tensor([[40], [31], [12], [40]])
    memory = Memory(torch.randn(3, 4, 16, 64), torch.arange(16) >= torch.tensor([[0], [3], [16], [0]]))
    exact, _, kept = one(x, mask, memory)
    with torch.autocast("cpu", dtype):
        half, _, remembered = one(x, mask, memory)
    torch.testing.assert_close(half.float()[mask], exact[mask], rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(remembered.states.float()[:, kept.mask], kept.states[:, kept.mask], rtol=1e-2, atol=1e-2)


def test_a_whole_encoder_in_half_precision_keeps_its_precision() -> None:
    one = encoder(causal=True).bfloat16()
    x, mask = torch.randn(2, 5, 12).bfloat16(), torch.arange(5) < torch.tensor([[5], [3]])
    y, _, memory = one(x, mask, one.empty_memory(2))
    assert y.dtype == memory.states.dtype == torch.bfloat16


@pytest.mark.parametrize("options", VARIANTS)
def test_every_parameter_gets_a_gradient(options: dict[str, Any]) -> None:
    one = encoder(**options).train()
    one(torch.randn(2, 9, 12))[0].square().sum().backward()
    assert [name for name, p in one.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_shared_biases_are_one_pair_for_all_layers() -> None:
    own, shared = (encoder(shared_biases=value) for value in (False, True))
    names = {name for name, _ in shared.named_parameters() if name.endswith("_bias")}
    assert names == {"content_bias", "position_bias"}
    counts = [sum(parameter.numel() for parameter in one.parameters()) for one in (own, shared)]
    assert counts[0] - counts[1] == 2 * 2 * 2 * 4
    # With the same pair in each layer, an encoder of own biases is the same encoder.
    weights = copy.deepcopy(shared.state_dict())
    pair = {name: weights.pop(name) for name in names}
    own.load_state_dict(weights | {f"layers.{i}.attention.{name}": pair[name] for i in range(3) for name in names})
    x = torch.randn(2, 6, 12)
    assert torch.equal(own(x)[0], shared(x)[0])


@pytest.mark.parametrize("options", [*VARIANTS, {"memory_length": 7}])
def test_an_encoder_is_rebuilt_from_json(options: dict[str, Any]) -> None:
    one = encoder(**options)
    config = json.loads(json.dumps(one.config()))
    again = build(config).eval()
    assert again.config() == config
    again.load_state_dict(one.state_dict())
    x, memory = torch.randn(2, 9, 12), one.empty_memory(2)
    y, _, kept = one(x, None, memory)
    z, _, same = again(x, None, memory)
    assert torch.equal(y, z)
    assert torch.equal(kept.states, same.states)


def test_impossible_encoders_and_foreign_memories_say_why() -> None:
    with pytest.raises(AssemblyError, match="an encoder of 0 layers of 256 channels"):
        TransformerXLEncoder(layers=0)
    with pytest.raises(AssemblyError, match="an encoder with 'middle' norm"):
        build({"block": "TransformerXLEncoder", "arguments": {"norm": "middle"}})
    for wrong in ({"memory_length": -1}, {"clamp_length": 0}):
        with pytest.raises(AssemblyError, match=r"a memory of .* positions and distances up to"):
            TransformerXLEncoder(**wrong)
    one = encoder()
    with pytest.raises(AssemblyError, match=r"the memory is of 3 layers, 4 sequences .* and meets 3 layers, 2 seq"):
        one(torch.randn(2, 5, 12), None, one.empty_memory(4))
