"""Motifs, seqlets, filters, comparison with known motifs, and design, on models and data with planted truth."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from seqclass.alphabets import DNA, PROTEIN, reverse_complement
from seqclass.attribution.design import design_by_gradient, design_greedily
from seqclass.attribution.filters import filter_sites, filter_weights
from seqclass.attribution.in_silico import logits
from seqclass.attribution.motifs import Site, consensus, count_letters, salient_words, to_ppm, to_pwm, trim, weigh
from seqclass.attribution.motifs_compare import compare, read_database
from seqclass.attribution.motifs_discover import discover, hypothetical_contributions
from seqclass.attribution.seqlets import find_seqlets
from seqclass.blocks import ConvolutionStages, LinearHead, MaxPool, OneHotEmbedding
from seqclass.bundle import Bundle
from seqclass.data.simulate.motifs import CONSENSUS, consensus_ppm, draw, meme_text
from seqclass.errors import AssemblyError, MissingPackageError, SequenceError, SourceError
from seqclass.models import SequenceClassifier, create_model
from seqclass.targets import Target

PPM = consensus_ppm(CONSENSUS["Reb1"], 0.95)


def finder(ppm: np.ndarray = PPM, soft: bool = False) -> Bundle:
    """Its logit is the greatest match of a PWM; a second filter never fires."""
    stem = ConvolutionStages(4, (2,), len(ppm), (1,), (0.0,))
    model = SequenceClassifier(OneHotEmbedding(), stem, None, LinearHead(2, 1, MaxPool()), None)
    convolution = stem.blocks[0].convolutions[0]
    with torch.no_grad():
        convolution.weight[0] = torch.from_numpy(np.log2(ppm / 0.25).T)
        convolution.weight[1] = 0
        convolution.bias.copy_(torch.tensor([30.0 if soft else 0.0, -1.0]))
        model.head.out.weight.copy_(torch.tensor([[1.0, 1.0]]))
        model.head.out.bias.zero_()
    return Bundle(model.eval(), [Target("Reb1")], [1])


@pytest.fixture
def planted() -> tuple[np.ndarray, np.ndarray]:
    """Random sequences with a drawn Reb1 site in each, and where it begins."""
    generator = np.random.default_rng(0)
    tokens = generator.integers(0, 4, (300, 80)).astype(np.uint8)
    starts = generator.integers(0, 80 - len(PPM) + 1, 300)
    for row, (start, site) in enumerate(zip(starts, draw(PPM, 300, generator), strict=True)):
        tokens[row, start : start + len(PPM)] = site
    return tokens, starts


def test_counts_of_planted_sites_are_the_motif_they_were_drawn_from(planted: tuple[np.ndarray, np.ndarray]) -> None:
    tokens, starts = planted
    sites = [Site(row, int(start)) for row, start in enumerate(starts)]
    counts = count_letters(tokens, sites, len(PPM), DNA)
    np.testing.assert_array_equal(counts.sum(axis=1), 300)
    np.testing.assert_allclose(to_ppm(counts), PPM, atol=0.05)
    assert consensus(to_ppm(counts), DNA) == CONSENSUS["Reb1"]
    turned = [site._replace(reverse=True) for site in sites]
    np.testing.assert_array_equal(count_letters(tokens, turned, len(PPM), DNA), counts[::-1, ::-1])


def test_ends_and_unknown_letters_count_as_nothing() -> None:
    tokens = DNA.encode("ACGNT")[None]
    counts = count_letters(tokens, [Site(0, -1), Site(0, 2, 0.5)], 4, DNA)
    np.testing.assert_array_equal(counts.sum(axis=1), [0.5, 1, 1.5, 1])
    np.testing.assert_array_equal(counts[2], [0, 1, 0, 0.5])
    ppm = to_ppm(counts, pseudocount=2, background=np.array([0.4, 0.1, 0.1, 0.4]))
    np.testing.assert_allclose(ppm.sum(axis=1), 1)
    assert ppm[0, 0] == pytest.approx(0.8 / 2.5)
    with pytest.raises(SequenceError, match="without a single letter"):
        to_ppm(np.zeros((2, 4)), pseudocount=0)


def test_log_odds_of_a_sequence_add_up_to_the_ratio_of_its_probabilities() -> None:
    background = np.array([0.3, 0.2, 0.2, 0.3])
    site = DNA.encode("TTACCCGGT")
    odds = to_pwm(PPM, background)[np.arange(9), site].sum()
    ratio = np.prod(PPM[np.arange(9), site]) / np.prod(background[site])
    assert odds == pytest.approx(np.log2(ratio))


def test_weights_come_from_the_saliency_at_the_site() -> None:
    saliency = np.array([[0, 1, 2, -5, 1, 0.0]])
    assert [site.weight for site in weigh([Site(0, 1), Site(0, -1), Site(0, 3)], saliency, 3)] == [1, 1 / 3, 1 / 3]


def test_uninformative_ends_are_trimmed() -> None:
    flat = np.full((2, 4), 0.25)
    np.testing.assert_array_equal(trim(np.concatenate([flat, PPM, flat])), PPM)
    assert len(trim(flat)) == 2


def test_the_word_under_the_saliency_comes_first_whichever_strand_it_is_on() -> None:
    generator = np.random.default_rng(0)
    tokens = generator.integers(0, 4, (60, 100)).astype(np.uint8)
    saliency = generator.normal(0, 0.1, tokens.shape)
    word = DNA.encode("TTACCCG")
    for row in range(60):
        start = int(generator.integers(0, 93))
        tokens[row, start : start + 7] = word if row % 2 else reverse_complement(word)
        saliency[row, start : start + 7] += 1
    first, *others = salient_words(tokens, saliency, 7, DNA)
    assert first.letters == min("TTACCCG", "CGGGTAA")
    assert first.occurrences >= 60
    assert first.saliency == pytest.approx(7, abs=0.3)
    assert all(other.saliency <= first.saliency for other in others)
    residues = np.tile(PROTEIN.encode("MKVLMKX"), (3, 1))
    (word,) = [w for w in salient_words(residues, np.ones((3, 7)), 2, PROTEIN) if w.letters == "MK"]
    assert (word.occurrences, word.saliency) == (6, 2)


def test_seqlets_are_where_saliency_was_planted_and_chance_gives_few() -> None:
    generator = np.random.default_rng(0)
    saliency = generator.normal(size=(50, 200))
    assert len(find_seqlets(saliency, 10, p_value=1e-3)) < 50
    starts = generator.integers(0, 190, 50)
    for row, start in enumerate(starts):
        saliency[row, start : start + 10] += 4
    found = find_seqlets(saliency, 10, p_value=1e-3)
    best = {seqlet.sequence: seqlet for seqlet in reversed(found)}
    assert all(abs(best[row].start - start) <= 2 for row, start in enumerate(starts))
    for row in range(50):
        ours = sorted((seqlet.start, seqlet.end) for seqlet in found if seqlet.sequence == row)
        assert all(before[1] <= after[0] for before, after in pairwise(ours))
    with pytest.raises(SequenceError, match="windows of 201 residues"):
        find_seqlets(saliency, 201)


def test_a_filter_that_is_a_motif_is_found_again(planted: tuple[np.ndarray, np.ndarray]) -> None:
    tokens, starts = planted
    bundle = finder()
    np.testing.assert_allclose(filter_weights(bundle.model)[0], to_pwm(PPM), atol=1e-5)
    first, second = filter_sites(bundle, tokens)
    pwm = to_pwm(PPM)
    strongest = max(sum(pwm[i, t] for i, t in enumerate(row[p : p + 9])) for row in tokens for p in range(72))
    assert first.greatest == pytest.approx(strongest, abs=1e-4)
    assert consensus(to_ppm(count_letters(tokens, first.sites, 9, DNA)), DNA) == CONSENSUS["Reb1"]
    at = {(site.sequence, site.start) for site in first.sites}
    assert np.mean([(row, start) in at for row, start in enumerate(starts)]) > 0.9
    assert second.sites == []
    assert len(filter_sites(bundle, tokens, most=7)[0].sites) == 7


def test_weights_of_a_learned_embedding_are_what_letters_add() -> None:
    model = create_model("wrn", num_targets=1, length=30, channels=8, widths=(8,), strides=(1,), hidden=4).eval()
    weights = filter_weights(model)
    tokens = torch.randint(0, 4, (1, 30))
    with torch.no_grad():
        activations = model.stem.convolve(model.embedding(tokens)[0])
    expected = sum(weights[:, tap, tokens[0, 10 + tap - 3]] for tap in range(7))
    np.testing.assert_allclose(activations[0, 10].numpy(), expected, atol=1e-5)


def test_models_without_filters_say_so(planted: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(AssemblyError, match="no convolution of letters"):
        filter_weights(create_model("kmer_logreg", num_targets=1, alphabet="dna"))
    with pytest.raises(AssemblyError, match="sequences of 5 residues, where the filters have 9"):
        filter_sites(finder(), planted[0][:, :5])


def jaspar(ppms: dict[str, np.ndarray]) -> str:
    lines = []
    for name, ppm in ppms.items():
        lines.append(f">{name}")
        for base, row in zip("ACGT", ppm.T, strict=True):
            lines.append(f"{base} [ {' '.join(str(round(100 * share)) for share in row)} ]")
    return "\n".join(lines) + "\n"


@pytest.fixture
def database() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    known = {name: consensus_ppm(word, 0.9) for name, word in CONSENSUS.items()}
    return known | {f"random {i}": generator.dirichlet([0.3] * 4, 10) for i in range(60)}


@pytest.mark.parametrize("format", ["meme", "jaspar"])
def test_a_database_is_read_in_both_formats(tmp_path: Path, format: str) -> None:
    ppms = {name: consensus_ppm(word, 0.97) for name, word in CONSENSUS.items()}
    (tmp_path / "db").write_text(meme_text(ppms, [0.25] * 4) if format == "meme" else jaspar(ppms))
    read = read_database(tmp_path / "db")
    assert list(read) == list(ppms)
    for name, ppm in ppms.items():
        np.testing.assert_allclose(read[name], ppm, atol=0.011)


def test_a_matrix_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(">x\nA [1 2]\nC [1 2]\nG [1]\nT [1 2]\n")
    with pytest.raises(SourceError, match="motif x has rows of 2, 2, 1, 2 counts"):
        read_database(tmp_path / "a")
    (tmp_path / "a").write_text(">x\nA [1 y]\n")
    with pytest.raises(SourceError, match=r"line 2: .* is not a row of counts"):
        read_database(tmp_path / "a")


@pytest.mark.slow
def test_a_motif_is_matched_with_itself_on_either_strand_and_chance_with_none(database: dict[str, np.ndarray]) -> None:
    pytest.importorskip("memelite", reason="memelite is not installed")
    noisy = 0.9 * database["Rap1"] + 0.025
    queries = {"same": noisy, "turned": noisy[::-1, ::-1], "flat": np.full((8, 4), 0.25)}
    matches = compare(queries, database, most=3)
    best = {match.query: match for match in reversed(matches)}
    assert [match.query for match in matches] == ["same"] * 3 + ["turned"] * 3 + ["flat"] * 3
    assert (best["same"].target, best["same"].reverse, best["same"].offset) == ("Rap1", False, 0)
    assert (best["turned"].target, best["turned"].reverse) == ("Rap1", True)
    assert best["same"].e_value < 1e-4
    assert best["same"].e_value == pytest.approx(best["same"].p_value * len(database))
    assert best["flat"].e_value > 0.05


def test_without_the_extra_it_is_named(
    database: dict[str, np.ndarray], planted: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "memelite", None)
    monkeypatch.setitem(sys.modules, "modiscolite.tfmodisco", None)
    with pytest.raises(MissingPackageError, match=r"seqclass\[motifs\]"):
        compare(database, database)
    with pytest.raises(MissingPackageError, match=r"seqclass\[motifs\]"):
        discover(planted[0], np.zeros((300, 80, 4)))


@pytest.mark.slow
def test_modisco_finds_the_motif_that_the_attributions_hold() -> None:
    pytest.importorskip("modiscolite", reason="modisco-lite is not installed")
    generator = np.random.default_rng(0)
    tokens, starts = generator.integers(0, 4, (300, 200)).astype(np.uint8), generator.integers(15, 175, 300)
    effects = generator.normal(0, 0.02, (300, 200, 4))
    for row, (start, site) in enumerate(zip(starts, draw(PPM, 300, generator), strict=True)):
        tokens[row, start : start + 9] = site
        effects[row, start : start + 9] += to_pwm(PPM)
    first = discover(tokens, hypothetical_contributions(effects), rounds=2)[0]
    assert first.name == "positive 1"
    assert len(first.sites) > 60
    found = consensus(trim(first.ppm, 0.8), DNA)
    assert found in (CONSENSUS["Reb1"], DNA.decode(reverse_complement(DNA.encode(CONSENSUS["Reb1"]))))
    assert first.contributions.shape == first.ppm.shape
    assert trim(first.ppm, 0.8).shape == (9, 4)


def test_what_modisco_cannot_take_is_named(planted: tuple[np.ndarray, np.ndarray]) -> None:
    tokens, effects = planted[0], np.zeros((300, 80, 4))
    with pytest.raises(SequenceError, match="unknown base in sequence 3"):
        discover(np.where(np.arange(300)[:, None] == 3, 4, tokens).astype(np.uint8), effects)
    with pytest.raises(SequenceError, match="sequences of 30 bp"):
        discover(tokens[:, :30], effects[:, :30])
    with pytest.raises(SequenceError, match=r"attributions of shape \(300, 80\)"):
        discover(tokens, effects[..., 0])


def test_design_by_gradient_writes_the_motif_on_both_strands() -> None:
    bundle = finder(soft=True)
    start = np.random.default_rng(0).integers(0, 5, 30).astype(np.uint8)
    design = design_by_gradient(bundle, start, 0, steps=120)
    assert all(before < after for before, after in pairwise(design.logits))
    assert design.logits[-1] == pytest.approx(float(logits(bundle, design.tokens[None])[0, 0]), abs=1e-4)
    word, letters = DNA.encode(CONSENSUS["Reb1"]), DNA.decode(design.tokens)
    assert DNA.decode(word) in letters
    assert DNA.decode(reverse_complement(word)) in letters


def test_greedy_design_ends_where_no_substitution_helps() -> None:
    bundle = finder(soft=True)
    start = np.random.default_rng(0).integers(0, 4, 20).astype(np.uint8)
    design = design_greedily(bundle, start, 0)
    assert all(before < after for before, after in pairwise(design.logits))
    assert len(design.logits) == 1 + (design.tokens != start).sum()
    changed = np.repeat(design.tokens[None], 80, axis=0)
    changed[np.arange(80), np.arange(80) // 4] = np.arange(80) % 4
    assert logits(bundle, changed).max() == pytest.approx(design.logits[-1], abs=1e-4)


@pytest.mark.parametrize("method", [design_greedily, design_by_gradient])
def test_frozen_letters_stay_and_the_model_is_left_as_it_was(method: object) -> None:
    bundle = finder(soft=True)
    bundle.model.train()
    start = np.random.default_rng(0).integers(0, 4, 30).astype(np.uint8)
    design = method(bundle, start, 0, frozen=[(0, 12), (25, 30)], steps=15)
    changed = np.flatnonzero(design.tokens != start)
    assert len(changed)
    assert ((changed >= 12) & (changed < 25)).all()
    assert bundle.model.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in bundle.model.parameters())
    with pytest.raises(SequenceError, match="residues 20 to 31"):
        method(bundle, start, 0, frozen=[(20, 31)])
    with pytest.raises(AssemblyError, match="no residue is free"):
        method(bundle, start, 0, frozen=[(0, 30)])
