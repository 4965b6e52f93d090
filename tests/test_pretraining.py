"""Language models are pretrained: what is read, what a letter costs, what goes on after a stop, what starts from it."""

from __future__ import annotations

import json
import math
import os
import signal
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqclass.alphabets import DNA, PROTEIN, Tokens, reverse_complement
from seqclass.cli import main
from seqclass.data.store import Store, Views
from seqclass.data.writer import write_store
from seqclass.errors import AssemblyError, EvaluationError, TrainingError
from seqclass.evaluation.baselines.markov import KmerCounts, MarkovModel, longest_kmers
from seqclass.models import MaskedResidueLM, TransformerXLLM, bits_per_letter, create_model, transformer_xl_lm
from seqclass.saved import load_trained
from seqclass.targets import Target
from seqclass.training.language_data import LanguageDataModule, TapeLoader, stretches
from seqclass.training.language_score import score_language_model
from seqclass.training.language_task import LanguageTask, guess
from seqclass.training.pretrain import language_model_of
from seqclass.training.pretraining import run_pretraining

SIZES: dict[str, Any] = {"channels": 16, "layers": 1, "heads": 2, "head_size": 8, "inner": 32, "memory_length": 8}
MODEL = [f"--model.{name}={value}" for name, value in SIZES.items()]
RECIPE = ["--data.batch_size=4", "--data.segment=16", "--recipe.learning_rate=0.01", "--trainer.max_epochs=2"]
RECIPE += ["--trainer.precision=32-true", "--trainer.accelerator=cpu", "--trainer.log_every_n_steps=50"]
RECIPE += ["--figure_steps=0"]


def follow(length: int, seed: int, sure: float = 0.85) -> Tokens:
    """Bases of which each is, with a probability of `sure`, the one after the base two before it, else any of four."""
    generator = np.random.default_rng(seed)
    letters, noise = generator.integers(0, 4, length), generator.random(length) >= sure
    for place in range(2, length):
        if not noise[place]:
            letters[place] = (letters[place - 2] + 1) % 4
    return letters.astype(np.uint8)


def entropy(sure: float = 0.85) -> float:
    """Bits of a base in `follow`."""
    right, wrong = sure + (1 - sure) / 4, (1 - sure) / 4
    return -right * math.log2(right) - 3 * wrong * math.log2(wrong)


def write_genome(path: Path, contigs: Sequence[Tokens], splits: Sequence[int], window: int = 40) -> Store:
    """Contigs in windows side by side, each contig of a split."""
    rows = [(c, start) for c, tokens in enumerate(contigs) for start in range(0, len(tokens) - window + 1, window)]
    contig, start = (np.array(column) for column in zip(*rows, strict=True))
    with write_store(path, DNA, force=True) as writer:
        for number, tokens in enumerate(contigs):
            writer.add_contigs([f"chr{number + 1}"], tokens)
        writer.set_targets([Target("odd")])
        writer.add_labels(writer.layout.pack((np.arange(len(rows)) % 2)[:, None]))
        views = Views(contig, start, np.full(len(rows), window), np.ones(len(rows), int))
        writer.set_samples(views, np.array(splits, np.uint8)[contig])
        writer.finish({"source": "test", "notes": []})
    return Store(path)


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two chromosomes to train on, one to validate, one to test."""
    contigs = [follow(length, seed) for seed, length in enumerate((1600, 800, 400, 480))]
    return write_genome(tmp_path_factory.mktemp("genome") / "genome.h5", contigs, [0, 0, 1, 2])


@pytest.fixture(scope="module")
def proteins(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Proteins in which residues come in runs of three, so that neighbours tell what is hidden."""
    path, generator = tmp_path_factory.mktemp("proteins") / "proteins.h5", np.random.default_rng(0)
    lengths = 3 * generator.integers(8, 20, 120)
    with write_store(path, PROTEIN) as writer:
        for number, length in enumerate(lengths):
            runs = generator.integers(0, 20, length // 3)
            writer.add_contigs([f"P{number}"], np.repeat(runs, 3).astype(np.uint8))
        writer.set_targets([Target("odd")])
        writer.add_labels(writer.layout.pack((np.arange(120) % 2)[:, None]))
        split = np.resize(np.array([0, 0, 0, 1, 2], np.uint8), 120)
        writer.set_samples(Views(np.arange(120), np.zeros(120, int), lengths, np.ones(120, int)), split)
        writer.finish({"source": "test", "notes": []})
    return Store(path)


def dna_model(**sizes: int) -> TransformerXLLM:
    return transformer_xl_lm("dna", **{**SIZES, **sizes})


def pretrain(store: Store, out: Path, *options: str) -> dict[str, Any]:
    arguments = ["fit", f"--data.store={store.path}", f"--out={out}", *MODEL, *RECIPE, *options]
    return run_pretraining(transformer_xl_lm, name="test", arguments=arguments)


# Markov models


def plain_markov(train: list[str], text: str, order: int, strength: float) -> list[float]:
    counts = Counter(
        part[end - k : end] for part in train for k in range(1, order + 2) for end in range(k, len(part) + 1)
    )
    contexts = Counter[str]()
    for kmer, count in counts.items():
        contexts[kmer[:-1]] += 0 if "N" in kmer else count

    def probability(context: str, letter: str) -> float:
        shorter = probability(context[1:], letter) if context else 1 / 4
        return (counts[context + letter] + strength * shorter) / (contexts[context] + strength)

    bits = []
    for place, letter in enumerate(text):
        known = text[max(0, place - order) : place].rpartition("N")[2]
        bits.append(math.nan if letter == "N" else -math.log2(probability(known, letter)))
    return bits


@given(train=st.text("ACGTN", min_size=1, max_size=60), text=st.text("ACGTN", max_size=30), order=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_a_markov_model_is_that_of_plain_python(train: str, text: str, order: int) -> None:
    counts = KmerCounts(DNA.encode(train), DNA, 4)
    found = MarkovModel(counts, 5.0).bits(DNA.encode(text), order)
    other_strand = DNA.decode(reverse_complement(DNA.encode(train)))
    np.testing.assert_allclose(found, plain_markov([train, other_strand], text, order, 5.0))


def test_a_markov_model_reads_a_long_text_in_pieces_as_one() -> None:
    text = np.random.default_rng(0).integers(0, 5, 500).astype(np.uint8)
    whole = MarkovModel(KmerCounts(text, DNA, 4)).bits(text)
    with patch("seqclass.evaluation.baselines.markov._AT_ONCE", 7):
        np.testing.assert_array_equal(MarkovModel(KmerCounts(text, DNA, 4)).bits(text), whole)


def test_a_markov_model_costs_the_entropy_of_its_own_text_and_a_lower_order_more() -> None:
    # The complement of what follows is what precedes, so that the other strand obeys another rule of equal entropy.
    text = follow(60_000, seed=1)
    with patch("seqclass.evaluation.baselines.markov.reverse_complement", lambda tokens: tokens):
        markov = MarkovModel(KmerCounts(text, DNA, 4))
    held_out = follow(60_000, seed=2)
    assert np.nanmean(markov.bits(held_out)) == pytest.approx(entropy(), abs=0.01)
    assert np.nanmean(markov.bits(held_out, 1)) == pytest.approx(2, abs=0.01)


def test_counts_that_no_memory_holds_are_refused() -> None:
    assert longest_kmers(9_447_200, DNA) == 11
    assert longest_kmers(10**12, PROTEIN) == 5
    with pytest.raises(EvaluationError, match="counts of 20-mers of 4 letters"):
        KmerCounts(np.zeros(3, np.uint8), DNA, 20)


@pytest.mark.skipif("SEQCLASS_REAL_DATA" not in os.environ, reason="SEQCLASS_REAL_DATA is not set")
def test_six_mers_of_yeast_make_a_base_cost_what_they_are_known_to() -> None:
    from seqclass.data.fasta import read_fasta

    genome = {r.name: r.letters for r in read_fasta(Path(os.environ["SEQCLASS_REAL_DATA"]) / "yeast" / "sacCer3.fa")}
    held_out = DNA.encode(genome.pop("IV"))
    markov = MarkovModel(KmerCounts(DNA.encode(b"N".join(genome.values())), DNA, 6))
    assert np.nanmean(markov.bits(held_out)) == pytest.approx(1.937, abs=0.002)
    assert np.nanmean(markov.bits(held_out, 0)) == pytest.approx(1.958, abs=0.002)


# The tape in rows


def rows_of(loader: TapeLoader) -> Tokens:
    """The rows of an epoch, each with the letter behind it, `(rows, length + 1)`."""
    batches = [batch.inputs.numpy() for batch in loader]
    for before, after in pairwise(batches):
        np.testing.assert_array_equal(before[:, -1], after[:, 0])
    return np.concatenate([batches[0][:, :1], *(batch[:, 1:] for batch in batches)], axis=1)


def test_each_chromosome_is_read_whole_and_ends_with_an_unknown_base(genome: Store) -> None:
    loader = TapeLoader(genome, genome.samples("train"), 1, 16)
    text = DNA.decode(rows_of(loader)[0]).rstrip("N")
    assert text == DNA.decode(follow(1600, 0)) + "N" + DNA.decode(follow(800, 1))


@pytest.mark.parametrize("world_size", [1, 2])
def test_rows_of_all_processes_are_the_text_of_the_epoch_and_segments_follow_each_other(
    genome: Store, world_size: int
) -> None:
    samples, parts = genome.samples("train"), []
    for rank in range(world_size):
        loader = TapeLoader(genome, samples, 3, 16, shuffle=True, seed=5, rank=rank, world_size=world_size)
        loader.set_epoch(2)
        parts.append(rows_of(loader))
    rows = np.concatenate(parts)
    np.testing.assert_array_equal(rows[:-1, -1], rows[1:, 0])
    text = np.concatenate([*(row[:-1] for row in rows), rows[-1, -1:]])
    np.testing.assert_array_equal(text[: len(loader.text(2))], loader.text(2))
    assert (text[len(loader.text(2)) :] == DNA.unknown_token).all()


def test_epochs_read_the_same_bases_from_either_strand_in_another_order(genome: Store) -> None:
    loader = TapeLoader(genome, genome.samples("train"), 4, 16, shuffle=True)
    wanted = {
        DNA.decode(tokens) for one in (follow(1600, 0), follow(800, 1)) for tokens in (one, reverse_complement(one))
    }
    seen = set()
    for epoch in range(8):
        text = DNA.decode(loader.text(epoch))
        parts = (text + text).split("N")[1:3]
        assert set(parts) <= wanted
        assert sorted(map(len, parts)) == [800, 1600]
        seen.update(parts)
        assert text == DNA.decode(loader.text(epoch))
    assert seen == wanted
    assert len({DNA.decode(loader.text(epoch)) for epoch in range(8)}) == 8


def test_a_loader_goes_on_in_the_middle_of_an_epoch(genome: Store) -> None:
    def make() -> TapeLoader:
        return TapeLoader(genome, genome.samples("train"), 4, 16, shuffle=True, seed=3)

    loader = make()
    batches = iter(loader)
    for _ in range(5):
        next(batches)
    other = make()
    other.load_state_dict(loader.state_dict())
    rest, theirs = [batch.inputs for batch in batches], [batch.inputs for batch in other]
    assert len(rest) == len(theirs) == len(loader) - 5
    assert all(torch.equal(one, two) for one, two in zip(rest, theirs, strict=True))


@pytest.mark.parametrize("random_strand", [False, True])
def test_the_samples_of_a_batch_cover_the_first_letters_of_its_segments(tmp_path: Path, random_strand: bool) -> None:
    # Each sample is all of one letter, which its number tells.
    contigs = [np.repeat(np.arange(first, first + count) % 4, 40).astype(np.uint8) for first, count in ((0, 9), (9, 6))]
    store = write_genome(tmp_path / "letters.h5", contigs, [0, 0])
    loader = TapeLoader(store, store.samples("train"), 3, 7, shuffle=True, random_strand=random_strand)
    checked = 0
    for _ in range(4):
        for batch in loader:
            for sample, letter in zip(batch.samples.tolist(), batch.inputs[:, 0].tolist(), strict=True):
                if letter != DNA.unknown_token:
                    assert letter in ({sample % 4, 3 - sample % 4} if random_strand else {sample % 4})
                    checked += 1
    assert checked > 300


def test_what_no_sample_of_a_split_covers_is_not_read(tmp_path: Path) -> None:
    store = write_genome(tmp_path / "gaps.h5", [follow(200, 0)], [0])
    first, behind = stretches(store, np.array([0, 1, 4]))
    assert list(zip(first.tolist(), behind.tolist(), strict=True)) == [(0, 80), (160, 200)]


@pytest.mark.parametrize(("samples", "wanted"), [([0, 1], [(0, 80)]), ([0, 2, 3], [(0, 40), (80, 120), (120, 160)])])
def test_stretches_end_with_their_contig(tmp_path: Path, samples: list[int], wanted: list[tuple[int, int]]) -> None:
    store = write_genome(tmp_path / "contigs.h5", [follow(120, 0), follow(80, 1)], [0, 0])
    first, behind = stretches(store, np.array(samples))
    assert list(zip(first.tolist(), behind.tolist(), strict=True)) == wanted


def test_splits_that_share_bases_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "shared.h5"
    with write_store(path, DNA) as writer:
        writer.add_contigs(["chr1"], follow(100, 0))
        writer.set_targets([Target("odd")])
        writer.add_labels(writer.layout.pack(np.array([[0], [1]])))
        writer.set_samples(
            Views(np.zeros(2, int), np.array([0, 50]), np.full(2, 60), np.ones(2, int)), np.array([0, 1])
        )
        writer.finish({"source": "test", "notes": []})
    with pytest.raises(TrainingError, match="10 residues that valid samples cover are covered by training samples"):
        LanguageDataModule(str(path), along_tape=True)
    assert LanguageDataModule(str(path), along_tape=False).segment == 512


def test_a_text_too_short_for_its_rows_is_refused(genome: Store) -> None:
    data = LanguageDataModule(str(genome.path), along_tape=True, batch_size=64, segment=100)
    assert data.val_dataloader().rows == 4
    with pytest.raises(TrainingError, match=r"2,400 letters do not fill 64 rows of 100\. Lower --data\.batch_size"):
        data.train_dataloader()
    with pytest.raises(TrainingError, match=r"Let --data\.batch_size and --data\.segment be at least 1"):
        LanguageDataModule(str(genome.path), along_tape=True, segment=0)


# Scores


def test_bits_read_in_rows_are_those_of_the_whole_chromosome(genome: Store) -> None:
    model = dna_model(memory_length=480).eval()
    data = LanguageDataModule(str(genome.path), along_tape=True, batch_size=8, segment=32)
    scores = score_language_model(model, data, 0.15)
    assert scores["test"]["letters"] == 479
    whole = bits_per_letter(model, torch.from_numpy(follow(480, 3)))
    assert scores["test"]["bits_per_letter"]["model"]["mean"] == pytest.approx(whole, abs=1e-5)
    markov = MarkovModel(KmerCounts(np.concatenate([follow(1600, 0), [4], follow(800, 1)]).astype(np.uint8), DNA, 6))
    sixmers = float(markov.bits(follow(480, 3))[1:].mean())
    found = scores["test"]["bits_per_letter"]["markov_order_5"]
    assert found["mean"] == pytest.approx(sixmers)
    assert found["minus_model"]["mean"] == pytest.approx(sixmers - whole, abs=1e-5)


def test_intervals_are_of_blocks_and_there_are_none_of_few(tmp_path: Path) -> None:
    contigs = [follow(400, 0), follow(1200, 1), follow(1200, 2)]
    store = write_genome(tmp_path / "genome.h5", contigs, [0, 1, 2])
    data = LanguageDataModule(str(store.path), along_tape=True, batch_size=4, segment=32)
    few = score_language_model(dna_model(), data, 0.15)["test"]["bits_per_letter"]["model"]
    with patch("seqclass.training.language_score.STRETCH", 100):
        many = score_language_model(dna_model(), data, 0.15)["test"]["bits_per_letter"]["model"]
    assert few["interval"] is None
    low, high = many["interval"]
    assert low < many["mean"] < high


def test_the_letters_a_masked_model_guesses_are_a_share_of_those_it_reads(proteins: Store) -> None:
    model = language_model_of(create_model("protcnn_small", num_targets=1, channels=16, bottleneck=8)).eval()
    assert isinstance(model, MaskedResidueLM)
    data = LanguageDataModule(str(proteins.path), along_tape=False, batch_size=8)
    (batch, *_) = data.val_dataloader()
    found = guess(model, batch, None, 0.3, 0, 0)
    counted = found.letters >= 0
    assert torch.equal(found.letters[counted], batch.inputs.long()[counted])
    assert found.bits[~counted].eq(0).all()
    real = batch.inputs.numel() if batch.mask is None else int(batch.mask.sum())
    assert 0.2 < int(counted.sum()) / real < 0.4
    again = guess(model, batch, None, 0.3, 0, 0)
    assert torch.equal(again.letters, found.letters)


# Runs


def test_a_run_learns_what_a_markov_model_of_that_order_knows(genome: Store, tmp_path: Path) -> None:
    scores = pretrain(genome, tmp_path / "run", "--trainer.max_epochs=6", "--data.random_strand=false")
    bits = {name: each["mean"] for name, each in scores["test"]["bits_per_letter"].items()}
    assert entropy() - 0.1 < bits["model"] < 1.5 < 1.9 < bits["markov_order_0"]
    assert scores["test"]["accuracy"] > 0.6
    assert json.loads((tmp_path / "run" / "scores.json").read_text()) == scores
    kept = load_trained(tmp_path / "run" / "language_model")
    assert isinstance(kept, TransformerXLLM)
    data = LanguageDataModule(str(genome.path), along_tape=True, batch_size=4, segment=16)
    assert score_language_model(kept, data, 0.15) == scores


def stop_at(step: int) -> Any:
    """Lets training send itself SIGTERM in its step of that number."""
    original, seen = LanguageTask.training_step, []

    def wrapped(self: LanguageTask, batch: Any, number: int) -> Any:
        seen.append(number)
        if len(seen) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, batch, number)

    return patch.object(LanguageTask, "training_step", wrapped)


@pytest.mark.parametrize("step", [7, 40])
def test_a_stopped_run_goes_on_with_its_memory_to_the_same_bits(genome: Store, tmp_path: Path, step: int) -> None:
    pretrain(genome, tmp_path / "whole")
    with stop_at(step), pytest.raises(SystemExit) as stop:
        pretrain(genome, tmp_path / "stopped")
    assert stop.value.code == 128 + signal.SIGTERM
    pretrain(genome, tmp_path / "stopped", "--resume")
    one, two = (tmp_path / name / "language_model" / "model.safetensors" for name in ("whole", "stopped"))
    assert one.read_bytes() == two.read_bytes()
    with patch.object(LanguageTask, "on_load_checkpoint", lambda self, checkpoint: None):
        with stop_at(step), pytest.raises(SystemExit):
            pretrain(genome, tmp_path / "forgot")
        pretrain(genome, tmp_path / "forgot", "--resume")
    assert (tmp_path / "forgot" / "language_model" / "model.safetensors").read_bytes() != one.read_bytes()


def test_a_run_goes_on_only_with_what_it_began_with(genome: Store, tmp_path: Path) -> None:
    pretrain(genome, tmp_path / "run")
    with pytest.raises(TrainingError, match=r"data.segment 16 then, 8 now"):
        pretrain(genome, tmp_path / "run", "--resume", "--data.segment=8")


def test_a_loss_that_is_no_number_ends_the_run_and_names_the_place(genome: Store, tmp_path: Path) -> None:
    with (
        patch("seqclass.training.language_task.letter_loss", lambda logits, *_: logits.sum() * math.nan),
        pytest.raises(TrainingError, match=r"the loss became nan at step 0 on samples \d+ \(chr[12]:\d+-\d+\)"),
    ):
        pretrain(genome, tmp_path / "run")
    assert not (tmp_path / "run" / "language_model").exists()


def test_the_wrong_alphabet_is_refused_before_training(proteins: Store, tmp_path: Path) -> None:
    def model() -> TransformerXLLM:
        return dna_model()

    arguments = ["fit", f"--data.store={proteins.path}", f"--out={tmp_path / 'run'}"]
    with pytest.raises(TrainingError, match="the store holds protein, and the model guesses letters of dna"):
        run_pretraining(model, name="test", arguments=arguments)
    assert not (tmp_path / "run").exists()


def test_only_trunks_that_keep_a_position_a_letter_can_be_pretrained() -> None:
    causal = create_model("transformer_xl", num_targets=1, causal=True, channels=16, layers=1)
    both_sides = create_model("transformer_xl", num_targets=1, channels=16, layers=1)
    assert isinstance(language_model_of(causal), TransformerXLLM)
    assert isinstance(language_model_of(both_sides), MaskedResidueLM)
    with pytest.raises(AssemblyError, match="less than a position a letter"):
        language_model_of(create_model("wrn", num_targets=1, length=64, channels=8, widths=(8,), strides=(2,)))
    with pytest.raises(AssemblyError, match="no embedding, stem and encoder to pretrain"):
        language_model_of(create_model("kmer_logreg", num_targets=1))
    with pytest.raises(AssemblyError, match="an embedding without letters"):
        language_model_of(create_model("embedding_mlp", num_targets=1, vector_size=4))


def test_pretrain_and_fit_from_the_command_line(
    proteins: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["--model", "protcnn_small", "--model.channels=32", "--model.bottleneck=16", "--model.kernel_size=5"]
    common = [f"--data.store={proteins.path}", *RECIPE[2:5], "--trainer.precision=32-true", "--figure_steps=0"]
    main(["pretrain", *small, *common, "--trainer.max_epochs=8", "--data.batch_size=4"])
    scores = json.loads((tmp_path / "runs" / "protcnn_small_lm" / "scores.json").read_text())["test"]
    bits = scores["bits_per_letter"]
    assert bits["composition"]["mean"] == pytest.approx(math.log2(20), abs=0.1)
    low, high = bits["composition"]["minus_model"]["interval"]
    assert 1 < low < bits["composition"]["minus_model"]["mean"] < high
    assert "bits a letter that was not trained on" in capsys.readouterr().out
    lm = "runs/protcnn_small_lm/language_model"
    main(["fit", *small, *common, f"--init_from={lm}", "--trainer.max_epochs=1", "--baselines=false"])
    assert f"starts from {lm}: stem; fresh: head" in capsys.readouterr().err


def test_options_are_printed_as_config_takes_them(
    genome: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        pretrain(genome, tmp_path / "run", "--print_config")
    assert stop.value.code == 0
    file = tmp_path / "config.yaml"
    file.write_text(capsys.readouterr().out)
    run_pretraining(transformer_xl_lm, name="test", arguments=["fit", f"--config={file}", "--trainer.max_epochs=1"])
    assert (tmp_path / "run" / "language_model" / "config.json").exists()
