"""The whole job on simulated data: simulate, import, train, evaluate, explain. A few minutes on two cores.

Data      A simulated genome of 2.4 Mb; four planted motifs, and a fifth target that needs two of them 6 bp apart.
          Every negative holds the motifs' letters shuffled, so composition tells nothing.
Model     wrn_transformer_xl, small, on one bin of 200 bp.
Expect    Mean average precision above the k-mer baseline and near the ceiling that a scan with the true motifs reaches.
          Maps of mutagenesis and integrated gradients tell the planted sites from the rest with an AUROC of at least
          .95, those of HiResCAM of .85; and no map survives the loss of the weights. All asserted.

    python experiments/demo.py
"""

import csv
from pathlib import Path

import numpy as np

from seqclass.attribution.attribute import attribute
from seqclass.attribution.benchmark import benchmark
from seqclass.attribution.benchmark_report import benchmark_table
from seqclass.attribution.plots import Mark, plot_saliency
from seqclass.bundle import Bundle
from seqclass.data.simulate.peaks import PAIR_TARGET, simulate_peaks, true_motif_scores
from seqclass.data.sources.peaks import import_peaks
from seqclass.data.store import Store
from seqclass.data.tape import read_samples
from seqclass.evaluation.evaluate import evaluate, judged_samples
from seqclass.evaluation.report import summary_table
from seqclass.models import wrn_transformer_xl
from seqclass.predict import score_samples
from seqclass.targets import find_target
from seqclass.terminal import show
from seqclass.training import run_experiment

RUN, DATA = Path("runs/demo"), Path("runs/demo-data")
WINDOW = 200
SMALL = {"channels": 64, "widths": [64, 128], "strides": [2, 2], "expansion": 2, "embedding": "one-hot"}
SMALL |= {"layers": 1, "pool": "centre-max", "hidden": 64}
# Shuffled references hold what any window holds, so that what contributes is the sites.
DRAWN = {"grad-cam": {}, "hirescam": {}, "integrated-gradients": {"reference": "shuffled"}}
BARS = {"mutagenesis": 0.95, "integrated-gradients": 0.95, "hirescam": 0.85, "grad-cam": 0.5, "saliency": 0.5}
WINDOWS = 10  # of each target, in which the planted sites are looked for


def planted(store: Store, sample: int, target: str, plants: Path) -> list[Mark]:
    """The sites of a target that lie in a sample's window, placed in it."""
    chrom, first = store.contig_names[store.views.contig[sample]], int(store.views.start[sample])
    with open(plants, encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if (row["chrom"], row["target"]) == (chrom, target)]
    sites = [Mark(int(row["start"]) - first, int(row["end"]) - first, row["motif"]) for row in rows]
    return [site for site in sites if site.start >= 0 and site.end <= WINDOW]


def main() -> None:
    raw = simulate_peaks(DATA / "raw", force=True)
    peaks = {"genome": raw / "genome.fa", "peaks": raw / "peaks", "window": WINDOW}
    store = import_peaks(DATA / "demo.h5", **peaks, valid_chroms=["chr5"], test_chroms=["chr6"], force=True)

    options = [f"--model.{name}={value}" for name, value in SMALL.items()]
    options += [f"--data.store={store.path}", f"--out={RUN}", "--trainer.max_epochs=12", "--evaluate=false", "--force"]
    run_experiment(wrn_transformer_xl, name="demo", arguments=["fit", *options])
    trained = Bundle.load(RUN / "bundle")

    samples = judged_samples(store, "test")
    ceiling = true_motif_scores(raw, store, samples)
    metrics = evaluate(trained, store, RUN / "report", others={"true_motifs": ceiling})
    show(summary_table(metrics))

    plants = raw / "plants.tsv"
    judged = {"methods": list(BARS), "windows": WINDOWS, "reference": "shuffled", "steps": 8}
    found = benchmark(trained, store, plants, RUN / "benchmark", force=True, **judged)
    show(benchmark_table(found))

    column = find_target(trained.targets, PAIR_TARGET)
    positive = samples[store.labels(samples)[:, column] == 1]
    scores = score_samples(trained, store, positive)[:, column]
    middle = np.argsort(scores)[len(scores) // 2]
    sample, start = int(positive[middle]), int(store.views.start[positive[middle]])
    place = f"{store.contig_names[store.views.contig[sample]]}:{start:,}-{start + WINDOW:,}"
    tokens = read_samples(store, positive[[middle]])[0]
    letters, sites = store.alphabet.decode(tokens[0]), planted(store, sample, PAIR_TARGET, plants)
    title = f"{place}, target {PAIR_TARGET}, probability {scores[middle]:.2f}; planted motifs in yellow"
    maps = {name: attribute(trained, tokens, column, method=name, **own).scores[0] for name, own in DRAWN.items()}
    plot_saliency(RUN / "saliency.png", letters, maps, title=title, marks=sites, start=start)
    # The picture of the README, docs/pictures/demo-grad-cam.png.
    logo = {"HiResCAM": maps["hirescam"]}
    plot_saliency(RUN / "grad-cam.png", letters, logo, title=title, marks=sites, start=start)

    means = {"model": metrics["model"], **metrics["baselines"]}
    precision = {name: each["average_precision"]["mean"] for name, each in means.items()}
    assert precision["model"] > precision["kmer_logistic"], f"the k-mer baseline won: {precision}"
    for row in found["methods"]:
        least = BARS.get(row["method"], 0)
        assert row["auroc"] >= least, f"{row['method']} finds planted sites with {row['auroc']:.3f}, not {least}"
        assert row["falls"] is not False, f"{row['method']} keeps its map without the weights: {row['randomised']:.2f}"

    written = ("report/metrics.json", "report/per_target.tsv", "report/curves.png", "benchmark/benchmark.tsv")
    for path in ("bundle", *written, "saliency.png", "grad-cam.png"):
        show(f"wrote {RUN / path}")
    show(f"TensorBoard: .venv/bin/tensorboard --logdir {RUN / 'logs'}")


if __name__ == "__main__":
    main()
