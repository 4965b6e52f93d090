# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 5. Evaluation and interpretation
#
# Is the model good, is it better than something simple, and *where does it look*? This notebook trains three small
# models on data with planted motifs, compares them, reads the report of one, and then asks it for its evidence:
# Grad-CAM and its relatives, filters as logos, in-silico mutagenesis, and experiments on synthetic sequences. As
# the motifs were planted, every picture can be checked.

# %%
import os
import tempfile

os.chdir(tempfile.mkdtemp())
# %matplotlib inline

# %% [markdown]
# ## Data: two conditions
#
# Four simulated factors and the pair `Reb1+Rap1`, which counts only where both sites stand 6 bp apart. We pretend
# that each was assayed twice: in rich medium, where a factor binds wherever its motif is, and under heat shock,
# where each site is bound with a probability of two thirds only, for reasons that are not in the sequence. The
# sheet names a file, a target and a **group** in each line. So no model can be perfect in the second group, and
# metrics by group should show it.

# %%
import numpy as np

from seqclass.data.simulate.peaks import simulate_peaks
from seqclass.data.sources.peaks import import_peaks

raw = simulate_peaks("raw", chromosomes=4, length=300_000, positives=0.15)
generator = np.random.default_rng(0)
sheet = ["path\ttarget\tgroup"]
for file in sorted((raw / "peaks").glob("*.narrowPeak")):
    peaks = file.read_text().splitlines(keepends=True)
    bound = [peak for peak in peaks if generator.random() < 2 / 3]
    (raw / f"{file.stem}-heat.narrowPeak").write_text("".join(bound))
    sheet.append(f"peaks/{file.name}\t{file.stem} rich\trich medium")
    sheet.append(f"{file.stem}-heat.narrowPeak\t{file.stem} heat\theat shock")
(raw / "sheet.tsv").write_text("\n".join(sheet) + "\n")
store = import_peaks(
    "peaks.h5",
    genome=raw / "genome.fa",
    sheet=raw / "sheet.tsv",
    window=200,
    valid_chroms=["chr3"],
    test_chroms=["chr4"],
)
sizes = {split: len(store.samples(split)) for split in ("train", "valid", "test")}
print(f"{store.num_targets} targets; samples: {sizes}")

# %% [markdown]
# ## Three runs
# Convolutions, the same with a quarter of the channels and twice the stride, and a logistic regression on k-mers,
# which is a registered model (`seqclass fit --model kmer_logreg`). What the runs print is left out; notebook 4
# shows it.

# %%
from IPython.utils.capture import capture_output

from seqclass.blocks import CentreMax, DenseHead, OneHotEmbedding, WideResNetStem
from seqclass.models import SequenceClassifier, kmer_logreg
from seqclass.training import run_experiment


def convolutions(num_targets: int, channels: int = 64, stride: int = 1) -> SequenceClassifier:
    stem = WideResNetStem(4, 32, (channels, channels), (stride, 2), expansion=2, stem_kernel_size=15)
    head = DenseHead(channels, num_targets, CentreMax(200 // stem.stride), hidden=64)
    return SequenceClassifier(OneHotEmbedding("dna"), stem, None, head)


RECIPE = {"data.batch_size": 64, "recipe.learning_rate": 0.006, "trainer.log_every_n_steps": 5}
FIT = ["fit", "--data.store=peaks.h5"]
with capture_output():
    eight = [*FIT, "--trainer.max_epochs=8"]
    metrics = run_experiment(convolutions, name="convolutions", defaults=RECIPE, arguments=eight)
    narrow = [*FIT, "--trainer.max_epochs=8", "--model.channels=16", "--model.stride=2", "--evaluate=false"]
    run_experiment(convolutions, name="narrow", defaults=RECIPE, arguments=narrow)
    run_experiment(kmer_logreg, name="k-mers", defaults=RECIPE, arguments=[*eight, "--baselines=false"])

# %% [markdown]
# ## Against steps, and against the clock
#
# Two models are compared at equal steps or at equal time, which may rank them differently. On the left the axis is
# optimiser steps, on the right seconds since the run began.

# %%
from seqclass.training.run_curves import draw_runs

runs = {name: f"runs/{name}" for name in ("convolutions", "narrow", "k-mers")}
draw_runs(runs, ["valid/loss", "valid/auroc"])

# %% [markdown]
# The k-mer model is cheap, and soon at its end. The narrow network takes as many steps in less time, and learns
# less from each. Which one is best depends on how long you can wait, so look at both axes.
#
#
# ## The report
#
# `fit` has judged the best epoch on the test split, beside the baselines. A line a target; under "mean" the average
# over them.

# %%
from seqclass.evaluation.report import summary_table
from seqclass.evaluation.text import sentences
from seqclass.terminal import show

show(summary_table(metrics))
print(*sentences(metrics), sep="\n")

# %% [markdown]
# Average precision is the headline where positives are rare. "AUROC among labelled" asks only bins where something
# binds, so that "some factor binds here" is not enough. Is the network really better than the k-mers, trained in
# the same way? Both runs were judged on the same bins, and `compare_runs` draws the same test sets anew for both.

# %%
from seqclass.evaluation.compare import compare_runs, comparison_table

show(comparison_table(compare_runs(["runs/convolutions", "runs/k-mers"])))

# %% [markdown]
# ## ROC and precision-recall curves, by group
#
# From the predictions that the report keeps. With more than seven targets the curves are drawn as median and
# quartiles of each group, and the best, the middle and the worst target by name.

# %%
from seqclass.evaluation.multilabel import measure
from seqclass.evaluation.plots import Scored, draw_curves
from seqclass.evaluation.predictions import load_predictions

kept = load_predictions("runs/convolutions/report")
measured = measure(kept.labels, kept.scores, kept.targets, store.positives("train"))
draw_curves(kept.labels, Scored(kept.scores, measured), {})

# %%
groups = metrics["model"]["groups"]
for name, means in groups.items():
    precision, auroc = means["average_precision"]["mean"], means["auroc"]["mean"]
    print(f"{name:12} average precision {precision:.3f}   AUROC {auroc:.3f}")

# %% [markdown]
# Heat shock is worse, as it must be: a third of the sites with a perfect motif are not bound there, and no sequence
# says which. The ROC curve of that group cannot reach the corner; in the precision-recall plot, precision stays
# near two thirds.
#
# ## Where does it look?
#
# We take a test window that Reb1 binds, and mark the planted site. `attribute` asks one question with many methods.

# %%
import csv

import seqclass
from seqclass.attribution.attribute import attribute
from seqclass.attribution.plots import Mark, plot_saliency
from seqclass.data.tape import read_samples
from seqclass.predict import score_samples
from seqclass.targets import find_target

bundle = seqclass.load("runs/convolutions/bundle")
column = find_target(bundle.targets, "Reb1 rich")
test = store.samples("test")
positive = test[store.labels(test)[:, column] == 1]
tokens, _ = read_samples(store, positive)

sites: dict[int, list[Mark]] = {}
with open(raw / "plants.tsv", encoding="utf-8") as plants:
    for row in csv.DictReader(plants, delimiter="\t"):
        if row["chrom"] == "chr4" and row["target"] and row["target"] == row["motif"]:
            start = int(row["start"]) // 200 * 200
            mark = Mark(int(row["start"]) - start, int(row["end"]) - start, row["motif"])
            sites.setdefault(start, []).append(mark)

chosen = int(np.argsort(score_samples(bundle, store, positive)[:, column])[len(positive) // 2])
place = int(store.views.start[positive[chosen]])
window = tokens[[chosen]]

# %% [markdown]
# - **Grad-CAM** weighs the channels of the last convolutional stage by their mean gradient.
# - **Guided Grad-CAM** multiplies that by guided backpropagation. It looks sharp, but guided maps change little when
# a model's weights are randomised: the library calls them *not model-faithful*.
# - **HiResCAM** multiplies activations and gradients position by position, and adds up to what the layer contributes.
# - **Integrated gradients** share out the difference to shuffled copies of the sequence.
# - **Mutagenesis** replaces every base by each other one and looks at the logit: the slowest, and the reference.

# %%
from IPython.display import Image

METHODS = {
    "grad-cam": {},
    "guided-grad-cam": {},
    "hirescam": {},
    "integrated-gradients": {"reference": "shuffled", "steps": 8, "tolerance": 1.0},
    "mutagenesis": {},
}
maps = {method: attribute(bundle, window, column, method=method, **how).scores[0] for method, how in METHODS.items()}
plot_saliency(
    "maps.png",
    bundle.alphabet.decode(window[0]),
    maps,
    marks=sites[place],
    start=place,
    title=f"chr4:{place:,}-{place + 200:,}, target Reb1 rich; planted sites in yellow",
)
Image("maps.png", width=900)

# %% [markdown]
# Above, a track a method, blue for and grey against the target; below, the letters of the most salient stretch of
# the last track. Other true sites are marked as well: evidence for another factor is no evidence for Reb1, but the
# model may think so. Grad-CAM is blurred: the mean of gradients over positions suits heads that treat all positions
# alike, and this one takes maxima. One window proves nothing. Over eight windows: how well does the size of each
# map tell the bases inside Reb1's site from the others (AUROC, .5 is chance), and how often does its highest base
# lie inside?

# %%
from seqclass.attribution.localisation import inside, localisation

starts = store.views.start[positive]
true = [[(m.start, m.end) for m in sites[int(start)] if m.label == "Reb1"] for start in starts]
eight = [number for number, where in enumerate(true) if where][:8]
found = {}
for method, how in METHODS.items():
    scores = attribute(bundle, tokens[eight], column, method=method, **how).scores
    pairs = [localisation(score, inside(200, true[number])) for score, number in zip(scores, eight, strict=True)]
    found[method] = np.mean(pairs, axis=0)
    print(f"{method:22} AUROC {found[method][0]:.2f}   highest base inside the site {found[method][1]:.0%}")

# %% [markdown]
# `seqclass explain --benchmark` makes this table for all methods, with controls: a model whose weights are lost,
# and a map that knows positions only.
#
# ## Filters as logos
#
# What activates the filters of the first convolution? Subsequences of the test windows with more than 70 % of a
# filter's greatest activation, stacked up. Of 32 filters, the eight with the most information:

# %%
from seqclass.attribution.filters import filter_sites
from seqclass.attribution.logos import information
from seqclass.attribution.motifs import count_letters, to_ppm
from seqclass.attribution.plot_motifs import plot_motifs
from seqclass.data.simulate.motifs import CONSENSUS

windows, _ = read_samples(store, test)
width = bundle.model.stem.convolve.weight.shape[-1]
ppms = {
    f"filter {each.filter}, {len(each.sites)} sites": to_ppm(count_letters(windows, each.sites, width, bundle.alphabet))
    for each in filter_sites(bundle, windows, threshold=0.7)
    if len(each.sites) >= 20
}
best = sorted(ppms, key=lambda name: -information(ppms[name]).sum())[:8]
plot_motifs("filters.png", {name: ppms[name] for name in best}, bundle.alphabet)
print("planted:", *[f"{name} {consensus}" for name, consensus in CONSENSUS.items()], sep="  ")
Image("filters.png", width=900)

# %% [markdown]
# Look for the planted consensus sequences, or parts of them, on either strand: `TTACCCGGT` of Reb1 is `ACCGGGTAA`
# on the other one, `ACACCC` of Rap1 `GGGTGT`, and `CACGTG` of Cbf1 reads the same on both. Later layers put the
# parts together, so a filter need not hold a whole motif, and several may share one.
#
#
# ## In-silico mutagenesis
#
# Every substitution in 60 bp around the site. Red raises the logit, blue lowers it; a dot stands at the base that
# is there.

# %%
from seqclass.attribution.mutagenesis import mutagenesis
from seqclass.attribution.plot_mutagenesis import plot_mutagenesis

site = next(mark for mark in sites[place] if mark.label == "Reb1")
left = min(max(0, site.start - 25), 140)
effects = mutagenesis(bundle, window, [column], start=left, end=left + 60)[0, :, :, 0]
plot_mutagenesis(
    "mutagenesis.png",
    window[0, left : left + 60],
    effects,
    bundle.alphabet,
    start=place + left,
    title=f"Reb1 rich; the planted site is {place + site.start:,}-{place + site.end:,}",
)
Image("mutagenesis.png", width=900)

# %% [markdown]
# ## A synthetic motif
#
# Now the other way round: put a motif into sequences that have none, and see what it adds. The backgrounds are
# windows whose bases were shuffled such that the number of each pair of neighbours stays. Four motifs, and Reb1's
# with its core spoilt:

# %%
from seqclass.attribution.in_silico import marginalise, shuffled_backgrounds, space
from seqclass.attribution.plot_effects import plot_effects

backgrounds = shuffled_backgrounds(bundle, windows, 60)
motifs = {"Reb1": "TTACCCGGT", "spoilt": "TTAGTCGGT", "Rap1": "ACACCCATACATC"}
motifs |= {"Cbf1": "ATCACGTGAC", "Gcn4": "ATGACTCATC"}
added = marginalise(bundle, backgrounds, list(motifs.values()))
rich = [target.name for target in bundle.targets if target.group == "rich medium"]
plot_effects("added.png", added, bundle.targets, rich, condition="motif put into the middle")
Image("added.png", width=900)

# %% [markdown]
# The motifs of Reb1 and Rap1 raise their own targets, and each other's, too: in these data they often stand side by
# side, and the model has learned that correlation. A spoilt motif does little. Cbf1 and Gcn4 raise nothing but
# their own target, and less than the others where the model has not learned them well, as the report says of Cbf1.
#
# And the pair? `space` puts both motifs into backgrounds at several distances, and shows how much more the two add
# together than the sum of each alone. The truth is a rule: together at 6 bp, and not at 16 bp or more.

# %%
together = space(bundle, backgrounds, motifs["Reb1"], motifs["Rap1"], range(0, 31, 3))
plot_effects(
    "spacing.png",
    together,
    bundle.targets,
    ["Reb1+Rap1 rich", "Reb1 rich"],
    condition="distance between Reb1's and Rap1's motifs (bp)",
)
Image("spacing.png", width=900)

# %% [markdown]
# A peak at 6 bp: the model knows the rule, not only that both motifs speak for the pair. Between 0 and 15 bp the
# data have no other distance than 6, so what the curve says there is the model's guess.
#
#
# ## Was it found?
# Heat shock must be the harder group; mutagenesis must find Reb1's sites; and the pair must be best at the planted
# distance of 6 bp.

# %%
pair = together.mean[:, find_target(bundle.targets, "Reb1+Rap1 rich")]
precision = {name: means["average_precision"]["mean"] for name, means in groups.items()}
print("harder group:", min(precision, key=precision.__getitem__))
print(f"mutagenesis finds Reb1's sites: AUROC {found['mutagenesis'][0]:.2f}")
print("best distance of the pair:", together.conditions[int(pair.argmax())], "bp")
