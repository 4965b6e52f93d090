"""Language models: segments against one pass, bits against entropy, and what they learn."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from seqclass.alphabets import DNA, PROTEIN, Alphabet
from seqclass.blocks import (
    BiLSTMEncoder,
    LearnedEmbedding,
    OneHotEmbedding,
    ProtCNNStem,
    TransformerXLEncoder,
    WideResNetStem,
    build,
)
from seqclass.bundle import Bundle
from seqclass.data.augment import hide_letters
from seqclass.errors import AssemblyError, BundleError, OutputExistsError, SequenceError
from seqclass.models import (
    MaskedResidueLM,
    TransformerXLLM,
    bits_per_letter,
    letter_loss,
    transformer_xl_lm,
)
from seqclass.saved import load_trained, save_language_model

SIZES = {"channels": 16, "layers": 2, "heads": 2, "head_size": 8, "inner": 16}


def tiny_lm(memory_length: int = 64) -> TransformerXLLM:
    return transformer_xl_lm(**SIZES, memory_length=memory_length).eval()


def test_segments_with_memory_give_the_logits_of_one_pass() -> None:
    model, tokens = tiny_lm(), torch.randint(0, 5, (3, 48))
    whole, _ = model(tokens)
    parts, memory = [], None
    for begin in range(0, 48, 16):
        logits, memory = model(tokens[:, begin : begin + 16], None, memory)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-4, atol=1e-5)


def test_a_letter_is_guessed_from_what_lies_before_only() -> None:
    model, tokens = tiny_lm(), torch.randint(0, 4, (1, 30))
    other = tokens.clone()
    other[0, 20:] = 3 - other[0, 20:]
    one, two = model(tokens)[0], model(other)[0]
    assert torch.equal(one[:, :20], two[:, :20])
    assert not torch.equal(one[:, 20], two[:, 20])


def test_next_letters_leave_out_unknown_ones_padding_and_the_end() -> None:
    model = tiny_lm()
    tokens = torch.tensor([[0, 4, 2, 3], [1, 2, 0, 0]])
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    assert model.next_letters(tokens, mask).tolist() == [[-1, 2, 3, -1], [2, -1, -1, -1]]
    assert model.next_letters(tokens[:1], None, torch.tensor([1])).tolist() == [[-1, 2, 3, 1]]
    assert model.next_letters(tokens, mask, torch.tensor([1, 4])).tolist() == [[-1, 2, 3, 1], [2, -1, -1, -1]]
    assert model.next_letters(tokens, mask, torch.tensor([4, 3])).tolist() == [[-1, 2, 3, -1], [2, 3, -1, -1]]


@given(lengths=st.lists(st.integers(0, 300), min_size=1, max_size=4), seed=st.integers(0, 99), told=st.booleans())
@settings(max_examples=40, deadline=None)
def test_next_letters_are_those_of_plain_python(lengths: list[int], seed: int, told: bool) -> None:
    generator = np.random.default_rng(seed)
    texts = [generator.integers(0, 5, length + 1).tolist() for length in lengths]
    longest = max(lengths) + 1
    tokens = torch.tensor([text[:-1] + [0] * (longest - len(text) + 1) for text in texts], dtype=torch.uint8)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    following = torch.tensor([text[-1] for text in texts], dtype=torch.uint8) if told else None
    found = tiny_lm().next_letters(tokens, mask, following).tolist()
    for text, row in zip(texts, found, strict=True):
        wanted = text[1:] if told else [*text[1:-1], 4][: len(text) - 1]
        assert row == [-1 if token == 4 else token for token in wanted] + [-1] * (longest - len(wanted))


def test_ragged_segments_with_memory_give_the_logits_of_each_sequence_alone() -> None:
    model, lengths = tiny_lm(), (41, 23)
    tokens = torch.randint(0, 5, (2, 48))
    mask = torch.arange(48) < torch.tensor(lengths)[:, None]
    parts, memory = [], None
    for begin in range(0, 48, 12):
        logits, memory = model(tokens[:, begin : begin + 12], mask[:, begin : begin + 12], memory)
        parts.append(logits)
    for row, length in enumerate(lengths):
        alone, _ = model(tokens[row : row + 1, :length])
        torch.testing.assert_close(torch.cat(parts, dim=1)[row, :length], alone[0], rtol=1e-4, atol=1e-5)


def test_a_tied_output_is_the_embedding_and_is_saved_once(tmp_path: Path) -> None:
    free, tied = tiny_lm(), transformer_xl_lm(**SIZES, tied=True).eval()
    assert sum(p.numel() for p in free.parameters()) - sum(p.numel() for p in tied.parameters()) == 4 * 16
    free.embedding.load_state_dict(tied.embedding.state_dict())
    free.encoder.load_state_dict(tied.encoder.state_dict())
    with torch.no_grad():
        free.weight.copy_(tied.embedding.weight / 4)
    tokens = torch.randint(0, 5, (2, 20))
    torch.testing.assert_close(tied(tokens)[0], free(tokens)[0])
    save_language_model(tied, tmp_path / "lm", {})
    assert torch.equal(load_trained(tmp_path / "lm")(tokens)[0], tied(tokens)[0])
    encoder = TransformerXLEncoder(4, 1, 2, 4, 8, causal=True)
    with pytest.raises(AssemblyError, match="vectors of a OneHotEmbedding, which learns none"):
        TransformerXLLM(OneHotEmbedding(), encoder, tied=True)


def test_loss_is_cross_entropy_over_what_counts() -> None:
    logits, letters = torch.randn(2, 3, 4), torch.tensor([[0, -1, 3], [-1, 2, 1]])
    counted = letters >= 0
    expected = F.cross_entropy(logits[counted], letters[counted])
    torch.testing.assert_close(letter_loss(logits, letters), expected)
    torch.testing.assert_close(letter_loss(logits, letters, "bits"), expected / math.log(2))
    assert letter_loss(logits, torch.full((2, 3), -1)).item() == 0


@pytest.mark.parametrize("segment", [7, 16, 1000])
def test_bits_do_not_depend_on_the_segments(segment: int) -> None:
    model = tiny_lm(memory_length=200).train()
    tokens = torch.randint(0, 5, (100,))
    model.eval()
    expected = letter_loss(
        model(tokens[None, :-1])[0], model.next_letters(tokens[None, :-1], None, tokens[-1:]), "bits"
    )
    model.train()
    assert bits_per_letter(model, tokens, segment) == pytest.approx(expected.item(), rel=1e-4)
    assert model.training


def test_a_model_that_knows_the_frequencies_pays_the_entropy() -> None:
    shares = torch.tensor([0.5, 0.25, 0.125, 0.125])
    model = tiny_lm()
    with torch.no_grad():
        model.weight.zero_()
        model.bias.copy_(shares.log())
    tokens = torch.multinomial(shares, 20_000, replacement=True, generator=torch.Generator().manual_seed(0))
    assert bits_per_letter(model, tokens, 2000) == pytest.approx(1.75, abs=0.02)


def test_what_has_no_letter_to_guess_is_refused_and_the_mode_put_back() -> None:
    model = tiny_lm().train()
    model.encoder.eval()
    for tokens in (torch.full((9,), DNA.unknown_token), torch.tensor([2]), torch.tensor([], dtype=torch.uint8)):
        with pytest.raises(SequenceError, match="without a letter to guess"):
            bits_per_letter(model, tokens)
    with pytest.raises(AssemblyError, match="segments of 0 letters"):
        bits_per_letter(model, torch.zeros(9, dtype=torch.uint8), 0)
    with pytest.raises(AssemblyError, match="token 7, where dna has 0 to 4"):
        bits_per_letter(model, torch.full((9,), 7))
    assert model.training
    assert not model.encoder.training


def test_a_repeat_is_learned_only_with_memory() -> None:
    """Each half of every sequence repeats the other, too far apart for a segment: only memory can know."""
    torch.manual_seed(0)
    model = transformer_xl_lm(channels=32, layers=2, heads=2, head_size=16, inner=32, dropout=0.0, memory_length=32)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(220):
        half = torch.randint(0, 4, (32, 8))
        tokens = torch.cat([half, half], dim=1)
        _, memory = model(tokens[:, :8])
        logits, _ = model(tokens[:, 8:], None, memory)
        loss = letter_loss(logits, model.next_letters(tokens[:, 8:]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        blind, _ = model.eval()(tokens[:, 8:])
        assert letter_loss(blind, model.next_letters(tokens[:, 8:]), "bits") > 1.5
    assert loss.item() / math.log(2) < 1.0


@pytest.mark.parametrize("alphabet", [DNA, PROTEIN])
def test_letters_are_hidden_as_bert_hides_them(alphabet: Alphabet) -> None:
    tokens = torch.randint(0, alphabet.unknown_token + 1, (200, 500), dtype=torch.uint8)
    mask = torch.arange(500).expand(200, 500) < 400
    before = tokens.clone()
    hidden = hide_letters(tokens, mask, alphabet, 1, 2, 3)
    assert torch.equal(tokens, before)
    known = (tokens < alphabet.unknown_token) & mask
    assert not (hidden.chosen & ~known).any()
    assert torch.equal(hidden.tokens[~hidden.chosen], tokens[~hidden.chosen])
    assert (hidden.chosen.sum() / known.sum()).item() == pytest.approx(0.15, abs=0.005)
    chosen = hidden.tokens[hidden.chosen]
    assert (chosen == alphabet.unknown_token).float().mean().item() == pytest.approx(0.8, abs=0.02)
    same = (chosen == tokens[hidden.chosen]).float().mean().item()
    assert same == pytest.approx(0.1 + 0.1 / len(alphabet.letters), abs=0.02)
    again = hide_letters(tokens, mask, alphabet, 1, 2, 3)
    assert torch.equal(again.tokens, hidden.tokens)
    assert not torch.equal(hide_letters(tokens, mask, alphabet, 1, 2, 4).tokens, hidden.tokens)


def masked_models() -> list[MaskedResidueLM]:
    return [
        MaskedResidueLM(LearnedEmbedding(8, "protein"), None, TransformerXLEncoder(8, 1, 2, 4, 8)),
        MaskedResidueLM(OneHotEmbedding("dna"), None, BiLSTMEncoder(4, 6)),
        MaskedResidueLM(OneHotEmbedding("protein"), ProtCNNStem(20, 12, 6, 9, (1, 3)), None),
    ]


@pytest.mark.parametrize("number", range(3))
def test_masked_models_guess_every_letter_whatever_the_padding(number: int) -> None:
    model = masked_models()[number].eval()
    tokens = torch.randint(0, 4, (2, 30))
    mask = torch.arange(30).expand(2, 30) < torch.tensor([[30], [19]])
    logits = model(tokens, mask)
    assert logits.shape == (2, 30, len(model.letters.letters))
    torch.testing.assert_close(logits[1, :19], model(tokens[1:, :19])[0], rtol=1e-4, atol=1e-5)
    for parameter in model.parameters():
        parameter.grad = None
    letter_loss(model.train()(tokens, mask), tokens.masked_fill(~mask, -1)).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    assert build(model.config()).config() == model.config()


def test_impossible_language_models_are_refused() -> None:
    with pytest.raises(AssemblyError, match="sees the letter that it is to guess"):
        TransformerXLLM(LearnedEmbedding(8), TransformerXLEncoder(8, 1, 2, 4, 8))
    with pytest.raises(AssemblyError, match="8 channels meet a block that expects 16"):
        TransformerXLLM(LearnedEmbedding(8), TransformerXLEncoder(16, 1, 2, 4, 8, causal=True))
    with pytest.raises(AssemblyError, match="less than a position a letter"):
        MaskedResidueLM(OneHotEmbedding(), WideResNetStem(4, 8, (8,), (2,), 2), None)
    with pytest.raises(AssemblyError, match="sees one side only"):
        MaskedResidueLM(LearnedEmbedding(8), None, TransformerXLEncoder(8, 1, 2, 4, 8, causal=True))


def test_a_saved_language_model_is_the_same_and_is_no_bundle(tmp_path: Path) -> None:
    model, tokens = tiny_lm(), torch.randint(0, 4, (2, 20))
    save_language_model(model, tmp_path / "lm", {"data": "none"})
    again = load_trained(tmp_path / "lm")
    assert torch.equal(again(tokens)[0], model(tokens)[0])
    assert again.config() == model.config()
    with pytest.raises(BundleError, match="this is not the configuration of a bundle"):
        Bundle.load(tmp_path / "lm")
    with pytest.raises(BundleError, match="this is not a language model or a bundle"):
        load_trained(tmp_path / "nothing")
    with pytest.raises(OutputExistsError):
        save_language_model(model, tmp_path / "lm", {})
    weights = tmp_path / "lm" / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(bytes(raw))
    with pytest.raises(BundleError, match="their checksum differs"):
        load_trained(tmp_path / "lm")


def test_masked_training_learns_what_neighbours_tell() -> None:
    """Of every pair of equal neighbours one can be read off the other; a model of frequencies cannot do that."""
    torch.manual_seed(0)
    model = MaskedResidueLM(OneHotEmbedding("dna"), ProtCNNStem(4, 24, 12, 3, (1,)), None)
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    for step in range(150):
        tokens = torch.randint(0, 4, (32, 20)).repeat_interleave(2, dim=1)
        hidden = hide_letters(tokens, None, DNA, 0, step)
        loss = letter_loss(model(hidden.tokens), tokens.masked_fill(~hidden.chosen, -1), "bits")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 1.7
