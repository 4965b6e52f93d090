"""Judging attribution: what is planted is found, what knows nothing is told apart, and bad input ends in a sentence."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from test_registry import make

from seqclass.alphabets import DNA
from seqclass.attribution.attribute import attribute
from seqclass.attribution.benchmark import CHANCE, MUTAGENESIS, benchmark
from seqclass.attribution.benchmark_curves import SHARES, areas, curves
from seqclass.attribution.benchmark_plants import planted_windows
from seqclass.attribution.benchmark_weights import cascade, stages
from seqclass.attribution.localisation import localisation
from seqclass.attribution.mutagenesis import importance, mutagenesis
from seqclass.blocks import ConvolutionStages, LinearHead, MaxPool, OneHotEmbedding
from seqclass.bundle import Bundle
from seqclass.cli.explain import add_explain_command
from seqclass.data.labels import pack_labels
from seqclass.data.store import Store, Views
from seqclass.data.writer import write_store
from seqclass.errors import SeqclassError
from seqclass.models import SequenceClassifier, create_model
from seqclass.targets import Target
from seqclass.terminal import plain_errors

WINDOW, SITE = 40, DNA.encode("TTACCCG")
NUMBER = 24
STAGED = [
    "wrn_transformer_xl",
    "wrn_bilstm",
    "deepsea",
    "protcnn",
    "protenn",
    "kmer_logreg",
    "protbert",
    "transformer_xl",
]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Windows, on either strand, that hold the site of target `bound` in odd contigs; and of `other`, in none.

    `plants.tsv` beside it is the truth, with a decoy and a site that reaches over the window's end.
    """
    generator = np.random.default_rng(0)
    strands = np.resize(np.array([1, 1, -1, -1], dtype=np.int8), NUMBER)
    rows = ["chrom\tstart\tend\tstrand\tmotif\ttarget"]
    with write_store(tmp_path / "store.h5", DNA) as writer:
        for number in range(NUMBER):
            tokens = generator.choice(4, 60, p=[0.4, 0.1, 0.1, 0.4]).astype(np.uint8)
            at = int(generator.integers(12, 40))
            if number % 2:
                tokens[at : at + len(SITE)] = SITE
                rows.append(f"c{number}\t{at}\t{at + len(SITE)}\t+\tm\tbound")
            rows.append(f"c{number}\t{at}\t{at + len(SITE)}\t+\tm\t")
            rows.append(f"c{number}\t48\t55\t+\tm\tbound")
            writer.add_contigs([f"c{number}"], tokens)
        writer.set_targets([Target("bound"), Target("other")])
        labels = np.stack([np.arange(NUMBER) % 2, np.ones(NUMBER, dtype=np.int64)], axis=1)
        writer.add_labels(pack_labels(labels))
        start = np.full(NUMBER, 10, dtype=np.int64)
        views = Views(np.arange(NUMBER, dtype=np.int32), start, np.full(NUMBER, WINDOW, np.int32), strands)
        writer.set_samples(views, np.full(NUMBER, 2, dtype=np.uint8))
        writer.finish({"source": "test", "notes": []})
    (tmp_path / "plants.tsv").write_text("\n".join(rows) + "\n")
    return Store(tmp_path / "store.h5")


@pytest.fixture
def scanner() -> Bundle:
    """A model that knows the site: it counts matches above five, on the strand that holds the most."""
    model = SequenceClassifier(
        OneHotEmbedding("dna"),
        ConvolutionStages(4, (1,), 7, (1,), (0.0,)),
        None,
        LinearHead(1, 2, MaxPool()),
        None,
        "dna",
    )
    weights = dict(model.named_parameters())
    with torch.no_grad():
        weights["stem.blocks.0.convolutions.0.weight"].copy_(torch.eye(4)[torch.from_numpy(SITE).long()].T[None])
        weights["stem.blocks.0.convolutions.0.bias"].fill_(-5)
        weights["head.out.weight"].fill_(1)
        weights["head.out.bias"].fill_(0)
    return Bundle(model.eval(), [Target("bound"), Target("other")], [12, 24])


def test_windows_hold_whole_sites_of_their_target_on_either_strand(store: Store) -> None:
    (case,) = planted_windows(store, store.path.parent / "plants.tsv", [0, 1])
    assert case.target == 0
    assert len(case.tokens) == len(case.where) > NUMBER / 3
    found = {DNA.decode(tokens[where]) for tokens, where in zip(case.tokens, case.where, strict=True)}
    assert found == {"TTACCCG", "CGGGTAA"}
    few = planted_windows(store, store.path.parent / "plants.tsv", [0], most=3, seed=1)
    assert len(few[0].tokens) == len(few[0].first(5).tokens) == 3
    assert len(few[0].first(2).where) == 2


def test_localisation_is_the_auroc_of_the_size_and_ties_share_the_top() -> None:
    generator = np.random.default_rng(0)
    saliency = generator.integers(-4, 5, 200).astype(np.float32)
    where = generator.random(200) < 0.1
    area, hit = localisation(saliency, where)
    assert area == pytest.approx(roc_auc_score(where, np.abs(saliency)))
    top = np.abs(saliency) == 4
    assert hit == pytest.approx((top & where).sum() / top.sum())


def test_who_knows_the_site_is_told_from_who_does_not(store: Store, scanner: Bundle, tmp_path: Path) -> None:
    methods = (MUTAGENESIS, "integrated-gradients", "saliency", "hirescam", "mean-activation")
    found = benchmark(scanner, store, tmp_path / "plants.tsv", tmp_path / "out", methods=methods, steps=16)
    rows = {row["method"]: row for row in found["methods"]}
    assert list(rows) == [*methods, CHANCE]
    for name in methods[:3]:
        assert rows[name]["auroc"] == rows[name]["hit_rate"] == 1
        assert rows[name]["auroc_random_weights"] < 0.8
        assert rows[name]["auroc_position_prior"] < 0.8
        assert rows[name]["deletion"] < 0.1 < 0.8 < rows[name]["insertion"]
        assert rows[name]["falls"]
        assert rows[name]["agreement"] > 0.95
    assert rows["hirescam"]["hit_rate"] == 1
    assert rows["hirescam"]["faithful"]
    assert not rows["mean-activation"]["faithful"]
    assert abs(rows[CHANCE]["auroc"] - 0.5) < 0.1
    assert rows[CHANCE]["deletion"] > rows["saliency"]["deletion"] + 0.1
    assert rows["integrated-gradients"]["refused"] is not None
    assert rows["saliency"]["refused"] is None


def test_figures_of_the_benchmark_follow_from_its_maps(store: Store, tmp_path: Path, dna: Bundle) -> None:
    """Recomputed from the public functions, with other libraries' figures."""
    found = benchmark(
        dna, store, tmp_path / "plants.tsv", tmp_path / "out", methods=[MUTAGENESIS, "saliency"], target="bo", seed=3
    )
    (case,) = planted_windows(store, tmp_path / "plants.tsv", [0], seed=3)
    x = np.stack(case.tokens)
    mutated = importance(mutagenesis(dna, x, [0]), x)[:, :, 0]
    maps = np.stack(attribute(dna, x, 0, method="saliency").scores)
    row = found["methods"][1]
    areas = [roc_auc_score(where, each) for where, each in zip(case.where, maps, strict=True)]
    assert row["auroc"] == pytest.approx(np.mean(areas), abs=1e-6)
    assert row["hit_rate"] == pytest.approx(np.mean([w[m.argmax()] for w, m in zip(case.where, maps, strict=True)]))
    alike = [spearmanr(np.abs(a), b).statistic for a, b in zip(mutated, maps, strict=True)]
    assert row["agreement"] == pytest.approx(np.mean(alike), abs=1e-6)
    others = [np.delete(maps, number, axis=0).mean(axis=0) for number in range(len(maps))]
    prior = [roc_auc_score(where, each) for where, each in zip(case.where, others, strict=True)]
    assert row["auroc_position_prior"] == pytest.approx(np.mean(prior), abs=1e-3)
    assert found["per_target"]["saliency"]["bound"]["auroc"] == pytest.approx(row["auroc"])


def test_curves_begin_and_end_at_the_sequences_and_their_shuffled_copies(store: Store, scanner: Bundle) -> None:
    (case,) = planted_windows(store, store.path.parent / "plants.tsv", [0])
    perfect = [where.astype(np.float32) for where in case.where]
    found = curves(scanner, case, perfect)
    assert found.deletion[0] == found.insertion[-1] == pytest.approx(1)
    assert found.deletion[-1] == found.insertion[0] < 0.2
    share = len(SITE) / WINDOW
    gone = SHARES.index(min(each for each in SHARES if each >= share))
    assert found.deletion[gone] < 0.3 < 0.9 < found.insertion[gone]
    deletion, insertion = areas([found])
    assert deletion < 0.2 < 0.8 < insertion
    flat = [np.zeros(WINDOW, dtype=np.float32)] * len(perfect)
    assert areas([curves(scanner, case, flat)])[0] > deletion + 0.1


@pytest.mark.parametrize("key", STAGED)
def test_weights_are_lost_from_the_head_down_until_none_is_left(key: str) -> None:
    model = make(key)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    parts = stages(model)
    keys = [key for taken in parts.values() for key in taken]
    assert sorted(keys) == sorted(before)
    lost: list[str] = []
    for name, other in cascade(model):
        lost += parts[name]
        now = other.state_dict()
        assert not other.training
        for kept in set(before) - set(lost):
            torch.testing.assert_close(now[kept], before[kept])
    assert next(iter(parts)) == "head"
    # Biases, scales and statistics can be the same in all fresh models.
    drawn = [name for name, weight in before.items() if weight.dim() > 1]
    assert drawn
    assert not any(torch.equal(now[name], before[name]) for name in drawn)
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(weight, before[name])


@pytest.fixture
def dna() -> Bundle:
    model = create_model("kmer_logreg", num_targets=2, k=3).eval()
    torch.nn.init.normal_(model.get_parameter("out.weight"))
    return Bundle(model, [Target("bound"), Target("other")], [12, 24])


@pytest.fixture
def run(store: Store, scanner: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Runs a line in a folder with `bundle`, `store.h5`, `plants.tsv` and `q.fa`."""
    monkeypatch.chdir(tmp_path)
    scanner.save("bundle")
    Path("q.fa").write_text(">a\nATTTACCCGATATT\n")

    def run(line: str) -> None:
        parser = argparse.ArgumentParser()
        add_explain_command(parser.add_subparsers(required=True))
        options = parser.parse_args(["explain", *line.split()])
        with plain_errors(debug=False):
            options.command(options)

    return run


BENCHMARK = "--benchmark bundle store.h5 --truth plants.tsv --out out"


def test_all_methods_are_judged_into_a_table_and_a_picture(
    run: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    run(f"{BENCHMARK} --windows 4 --steps 8 --num-references 2")
    told = capsys.readouterr()
    assert "attention-rollout was left out" in told.err
    assert "wrote out/benchmark.tsv" in told.err
    assert "guided-grad-cam (not model-faithful)" in told.out
    with open("out/benchmark.tsv") as file:
        rows = {row["method"]: row for row in csv.DictReader(file, delimiter="\t")}
    assert len(rows) == 17 - 1 + 1
    assert float(rows["deeplift"]["auroc"]) > 0.95
    details = json.loads(Path("out/benchmark.json").read_text())
    assert set(details["left_out"]) == {"attention-rollout"}
    assert details["windows"] == {"bound": 4}
    assert set(details["randomisation"]["saliency"]) == {"head", "stem"}
    assert imread("out/benchmark.png")[..., :3].std() > 0.05
    run(f"{BENCHMARK} --method saliency --force")
    assert len(Path("out/benchmark.tsv").read_text().splitlines()) == 3


def test_equal_seeds_give_equal_files(run: Callable[[str], None]) -> None:
    line = "--benchmark bundle store.h5 --truth plants.tsv --method smoothgrad --windows 3 --steps 4 --seed 5"
    for out in ("one", "two"):
        run(f"{line} --out {out}")
    for name in ("benchmark.tsv", "benchmark.json", "benchmark.png"):
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (f"{BENCHMARK} --target nobody", "nobody"),
        (f"{BENCHMARK} --method gradcom", "grad-cam"),
        (f"{BENCHMARK} --layer stem.7", "stem.7"),
        (f"{BENCHMARK} --reference nought", "zeros"),
        (f"{BENCHMARK} --steps 0", "0 steps"),
        (f"{BENCHMARK} --seed -1", "seed -1"),
        (f"{BENCHMARK} --split tset", "tset"),
        (f"{BENCHMARK} --windows 1", "1 windows"),
        (f"{BENCHMARK} --method attention-rollout", "attention"),
        (f"{BENCHMARK} --target other", "no positive window of test"),
        (BENCHMARK.replace("plants.tsv", "q.fa"), "q.fa"),
        (BENCHMARK.replace("plants.tsv", "none.tsv"), "none.tsv"),
        (BENCHMARK.replace("plants.tsv", "bad.tsv"), "line 2"),
        (BENCHMARK.replace("store.h5", "q.fa"), "q.fa"),
    ],
)
def test_bad_input_is_told_in_a_line_and_leaves_nothing(
    run: Callable[[str], None], capsys: pytest.CaptureFixture[str], line: str, told: str
) -> None:
    Path("bad.tsv").write_text("chrom\tstart\tend\ttarget\nc1\t9\t3\tbound\n")
    with pytest.raises(SystemExit) as ended:
        run(line)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert told in error
    assert len(error.strip().splitlines()) == 1
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("bundle q.fa --out out", "--target is needed"),
        ("--benchmark bundle store.h5 --out out", "--truth is needed"),
        (f"{BENCHMARK} --max-plots 3", "--max-plots"),
        ("bundle q.fa --target bound --out out --truth plants.tsv --windows 3", "--truth, --windows"),
        ("bundle q.fa --target bound --out out --method saliency --method hirescam", "several --method"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    run: Callable[[str], None], capsys: pytest.CaptureFixture[str], line: str, told: str
) -> None:
    with pytest.raises(SystemExit):
        run(line)
    assert told in capsys.readouterr().err


def test_a_model_of_vectors_has_no_sites(make_bundle: Callable[..., Bundle], store: Store, tmp_path: Path) -> None:
    model = create_model("embedding_mlp", num_targets=2, vector_size=4).eval()
    bundle = Bundle(model, [Target("bound"), Target("other")], [12, 24])
    with pytest.raises(SeqclassError):
        benchmark(bundle, store, tmp_path / "plants.tsv", tmp_path / "out")
