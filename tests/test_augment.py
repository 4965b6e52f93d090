from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from truth import COMPLEMENT, proteins, whole, write_truth

from seqclass.alphabets import PROTEIN
from seqclass.data.augment import Augmentation
from seqclass.data.loader import StoreLoader
from seqclass.data.store import Store, Views
from seqclass.errors import TrainingError

# Random, so that a stretch of more than a few bases occurs in one place.
GENOME = ["".join(np.random.default_rng(seed).choice(list("ACGT"), 300)) for seed in range(3)]


def read(contig: int, start: int, length: int) -> str:
    """A stretch of the genome as plain Python reads it."""
    text = GENOME[contig]
    return "".join(text[place] if 0 <= place < len(text) else "N" for place in range(start, start + length))


def windows(lengths: tuple[int, ...], num_samples: int = 60) -> Views:
    generator = np.random.default_rng(0)
    contig = np.sort(generator.integers(0, 3, num_samples))
    length = np.resize(np.array(lengths), num_samples)
    return Views(contig, generator.integers(-10, 290, num_samples), length, np.ones(num_samples, int))


def epoch_of(store: Store, augmentation: Augmentation, memory: int, seed: int = 1, epoch: int = 0) -> dict[int, str]:
    """What each sample reads in an epoch."""
    with patch("seqclass.data.loader._BLOCK_SAMPLES", 8):
        loader = StoreLoader(
            store, np.arange(len(store)), 7, shuffle=True, augmentation=augmentation, memory=memory, seed=seed
        )
    loader.set_epoch(epoch)
    found = {}
    for batch in loader:
        lengths = np.full(len(batch.samples), batch.inputs.shape[1])
        if batch.mask is not None:
            lengths = batch.mask.sum(dim=1).numpy()
            assert (batch.inputs.numpy()[~batch.mask.numpy()] == store.alphabet.unknown_token).all()
        for row, sample in enumerate(batch.samples.tolist()):
            found[sample] = store.alphabet.decode(batch.inputs[row, : lengths[row]].numpy())
    return found


@pytest.mark.parametrize("memory", [700, 1 << 30])
@pytest.mark.parametrize("lengths", [(40,), (30, 40, 55)])
@given(jitter=st.integers(0, 12), crop=st.none() | st.integers(1, 60), strand=st.booleans())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_varied_sample_is_a_stretch_of_its_own_contig_within_reach(
    memory: int, lengths: tuple[int, ...], jitter: int, crop: int | None, strand: bool, tmp_path: Path
) -> None:
    views = windows(lengths)
    store = write_truth(tmp_path / "genome.h5", GENOME, views).store
    found = epoch_of(store, Augmentation(strand, jitter, crop), memory)
    assert sorted(found) == list(range(len(views)))
    for sample, text in found.items():
        contig, start, length = (int(column[sample]) for column in (views.contig, views.start, views.length))
        assert len(text) == min(length, crop or length)
        reach = range(start - jitter, start + jitter + length - len(text) + 1)
        possible = {read(contig, first, len(text)) for first in reach}
        if strand:
            possible |= {stretch.translate(COMPLEMENT)[::-1] for stretch in possible}
        assert text in possible


@pytest.mark.parametrize("memory", [700, 1 << 30])
def test_variation_follows_from_the_seed_and_the_epoch(memory: int, tmp_path: Path) -> None:
    store = write_truth(tmp_path / "genome.h5", GENOME, windows((30, 40, 55))).store
    augmentation = Augmentation(random_strand=True, jitter=9, crop=25)
    places = {(seed, epoch): epoch_of(store, augmentation, memory, seed, epoch) for seed in (0, 1) for epoch in (0, 1)}
    for (seed, epoch), found in places.items():
        assert epoch_of(store, augmentation, memory, seed, epoch) == found
        for other in places:
            same = np.mean([places[other][sample] == text for sample, text in found.items()])
            assert same == 1 if other == (seed, epoch) else same < 0.2


def test_shifts_starts_and_strands_are_equally_likely() -> None:
    many = 20_000
    views = Views(*(np.full(many, value) for value in (0, 100, 50, 1)))
    draws = Augmentation(random_strand=True, jitter=4).draw(many, seed=0, epoch=0)
    varied = draws.apply(views, np.arange(many))
    assert sorted(set(varied.start)) == list(range(96, 105))
    assert chisquare(np.bincount(varied.start - 96)).pvalue > 0.001
    assert chisquare(np.unique(varied.strand, return_counts=True)[1]).pvalue > 0.001
    cropped = Augmentation(crop=45).draw(many, seed=0, epoch=0).apply(views, np.arange(many))
    assert set(cropped.length) == {45}
    assert sorted(set(cropped.start)) == list(range(100, 106))
    assert chisquare(np.bincount(cropped.start - 100)).pvalue > 0.001
    # What varies one way says nothing of the other.
    both = Augmentation(True, 4, 45).draw(many, 0, 0).apply(views, np.arange(many))
    assert abs(np.corrcoef(both.strand, both.start)[0, 1]) < 0.03


def test_portions_of_an_epoch_vary_differently() -> None:
    augmentation = Augmentation(random_strand=True)
    first, second = (augmentation.draw(1000, 0, 0, portion).strand for portion in (0, 1))
    assert 400 < (first != second).sum() < 600


def test_vectors_are_cropped_and_never_flipped(tmp_path: Path) -> None:
    contigs = [np.arange(90, dtype=np.float16).reshape(30, 3) + 100 * number for number in range(9)]
    truth = write_truth(tmp_path / "vectors.h5", contigs, whole(contigs))
    starts = set()
    for batch in StoreLoader(truth.store, np.arange(9), 4, shuffle=True, augmentation=Augmentation(crop=20)):
        for row, sample in enumerate(batch.samples.tolist()):
            inputs = batch.inputs[row].numpy()
            start = int(inputs[0, 0] - 100 * sample) // 3
            np.testing.assert_array_equal(inputs, contigs[sample][start : start + 20])
            starts.add(start)
    assert len(starts) > 3


def make_tokens() -> torch.Tensor:
    """Proteins of which a tenth of the residues is unknown, and the end of each is padding."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 20, (400, 100), generator=generator, dtype=torch.uint8)
    tokens[torch.rand(tokens.shape, generator=generator) < 0.1] = PROTEIN.unknown_token
    tokens[:, 90:] = PROTEIN.unknown_token
    return tokens


def test_residues_are_masked_and_drawn_anew_with_the_probabilities_asked_for() -> None:
    tokens = make_tokens()
    before = tokens.clone()
    corrupted = Augmentation(mask=0.15, substitute=0.1).corrupt(tokens, PROTEIN, 0, 0)
    assert torch.equal(tokens, before)
    assert corrupted.dtype == torch.uint8
    known = tokens < PROTEIN.unknown_token
    assert (corrupted[~known] == PROTEIN.unknown_token).all()
    masked = corrupted[known] == PROTEIN.unknown_token
    assert masked.float().mean().item() == pytest.approx(0.15, abs=0.007)
    changed = (corrupted != tokens)[known] & ~masked
    # A twentieth of what is drawn anew is drawn as it was.
    assert changed.float().mean().item() == pytest.approx(0.1 * 19 / 20, abs=0.006)
    assert chisquare(np.bincount(corrupted[known][changed].numpy(), minlength=20)).pvalue > 0.001
    assert set(torch.unique(corrupted).tolist()) == set(range(21))


@pytest.mark.parametrize(("mask", "substitute"), [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (0.5, 0.5)])
def test_extreme_probabilities_mean_what_they_say(mask: float, substitute: float) -> None:
    tokens = make_tokens()
    known = tokens < PROTEIN.unknown_token
    corrupted = Augmentation(mask=mask, substitute=substitute).corrupt(tokens, PROTEIN, 0, 0)
    share = (corrupted[known] == PROTEIN.unknown_token).float().mean().item()
    assert share == pytest.approx(mask, abs=0.01)
    stays = (corrupted[known] == tokens[known]).float().mean().item()
    assert stays == pytest.approx(1 - mask - substitute * 19 / 20, abs=0.01)


def test_what_is_replaced_follows_from_the_seed_and_the_step() -> None:
    tokens, augmentation = make_tokens(), Augmentation(mask=0.2, substitute=0.2)
    first = augmentation.corrupt(tokens, PROTEIN, 3, 5)
    torch.manual_seed(99)
    assert torch.equal(augmentation.corrupt(tokens, PROTEIN, 3, 5), first)
    for other in ((3, 6), (4, 5)):
        assert not torch.equal(augmentation.corrupt(tokens, PROTEIN, *other), first)


@pytest.mark.gpu
def test_residues_are_replaced_on_the_device_as_they_are_elsewhere() -> None:
    tokens, augmentation = make_tokens().cuda(), Augmentation(mask=0.15, substitute=0.1)
    corrupted = augmentation.corrupt(tokens, PROTEIN, 0, 0)
    assert corrupted.device == tokens.device
    assert torch.equal(augmentation.corrupt(tokens, PROTEIN, 0, 0), corrupted)
    known = tokens < PROTEIN.unknown_token
    assert (corrupted[~known] == PROTEIN.unknown_token).all()
    masked = corrupted[known] == PROTEIN.unknown_token
    assert masked.float().mean().item() == pytest.approx(0.15, abs=0.007)
    changed = (corrupted != tokens)[known] & ~masked
    assert changed.float().mean().item() == pytest.approx(0.1 * 19 / 20, abs=0.006)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jitter": -1}, "jitter is -1"),
        ({"crop": 0}, "crop is 0"),
        ({"crop": 1 << 40}, "crop is 1099511627776"),
        ({"mask": 1.5}, r"mask is 1\.5"),
        ({"substitute": float("nan")}, "substitute is nan"),
        ({"mask": 0.6, "substitute": 0.6}, "are more than all residues"),
    ],
)
def test_impossible_variation_is_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        Augmentation(**options)


def test_variation_that_a_store_cannot_have_is_refused(tmp_path: Path) -> None:
    contigs = proteins(5)
    protein = write_truth(tmp_path / "proteins.h5", contigs, whole(contigs)).store
    with pytest.raises(TrainingError, match="protein has no other strand"):
        StoreLoader(protein, np.arange(5), 2, augmentation=Augmentation(random_strand=True))
    vectors = [np.ones((4, 2), np.float32)] * 3
    embedded = write_truth(tmp_path / "vectors.h5", vectors, whole(vectors)).store
    with pytest.raises(TrainingError, match="in which no letter can be replaced"):
        StoreLoader(embedded, np.arange(3), 2, augmentation=Augmentation(mask=0.1))
