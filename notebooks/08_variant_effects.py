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
# # 8. What a variant does
#
# A model that predicts binding from sequence can be asked what a mutation changes: score the window with the
# reference allele and with the alternative one, and compare. Here a small model is trained on simulated peaks of
# four factors and then asked about a VCF on *another* genome, in which every variant's true effect is known: it
# destroys a site, creates one, or does neither.

# %%
import os
import tempfile

os.chdir(tempfile.mkdtemp())

# %% [markdown]
# ## A model

# %%
from IPython.utils.capture import capture_output

from seqclass.bundle import Bundle
from seqclass.data.simulate.peaks import simulate_peaks
from seqclass.data.sources.peaks import import_peaks
from seqclass.models import wrn
from seqclass.training import run_experiment

raw = simulate_peaks("peaks", chromosomes=4, length=200_000, positives=0.15)
store = import_peaks(
    "peaks.h5",
    genome=raw / "genome.fa",
    peaks=raw / "peaks",
    window=200,
    valid_chroms=["chr3"],
    test_chroms=["chr4"],
)
RECIPE = {"trainer.max_epochs": 7, "data.batch_size": 64, "recipe.learning_rate": 0.006}
RECIPE |= {"model.embedding": "one-hot", "model.channels": 32, "model.widths": [64, 64], "model.strides": [1, 2]}
RECIPE |= {"model.expansion": 2, "model.pool": "centre-max", "model.hidden": 64}
with capture_output():
    run_experiment(wrn, name="peaks", defaults=RECIPE, arguments=["fit", "--data.store=peaks.h5", "--evaluate=false"])
bundle = Bundle.load("runs/peaks/bundle")
print(f"average precision on validation: {bundle.provenance['valid_average_precision']:.2f}")

# %% [markdown]
# ## Variants
#
# A genome of 100,000 bp with motif sites, and about 1,000 records: SNVs, insertions, deletions, and some with two
# alternative alleles.

# %%
from seqclass.data.simulate.variants import simulate_vcf

simulate_vcf("variants")
# !head -n 10 variants/variants.vcf

# %% [markdown]
# `score_variants` reads the VCF as a stream, checks that each REF is the genome's, brings each allele to its least
# form, and scores both alleles in a window with the allele in its middle, on both strands. The command would be
#
#     seqclass variants runs/peaks/bundle --vcf variants/variants.vcf --genome variants/genome.fa --out effects.tsv

# %%
from seqclass.variants import Genome, VcfVariants, score_variants

variants = VcfVariants("variants/variants.vcf", Genome("variants/genome.fa"), length=200)
for note in score_variants(bundle, variants, "effects.tsv"):
    print(note)

# %%
import csv

with open("effects.tsv", encoding="utf-8") as file:
    rows = list(csv.DictReader(file, delimiter="\t"))
print(len(rows), "alleles; columns:", *list(rows[0])[:12], "...", sep="  ")

# %% [markdown]
# `delta_logit` is the log odds ratio of the two probabilities, negative where the alternative allele weakens the
# target. Which alleles do most?

# %%
for row in sorted(rows, key=lambda row: -float(row["max_abs_delta_logit"]))[:5]:
    name = row["most_affected"]
    print(row["chrom"], row["pos"], row["ref"], ">", row["alt"], name, f"{float(row[f'{name}:delta_logit']):+.2f}")

# %% [markdown]
# ## Are the effects right?
#
# The simulation says of each allele what it does to the sites of each motif. We take the alleles around which there
# is at most one site of a motif, and look at the change of its target's logit by what is true.

# %%
import numpy as np
from matplotlib.figure import Figure

with open("variants/effects.tsv", encoding="utf-8") as file:
    truth = {(r["chrom"], r["pos"], r["ref"], r["alt"], r["motif"]): r for r in csv.DictReader(file, delimiter="\t")}
KINDS = ("destroys", "none", "creates")
changes: dict[str, dict[str, list[float]]] = {}
for row in rows:
    for motif in ("Reb1", "Rap1", "Cbf1", "Gcn4"):
        true = truth.get((row["chrom"], row["pos"], row["ref"], row["alt"], motif))
        if true and int(true["sites_before"]) + int(true["sites_after"]) <= 1:
            delta = float(row[f"{motif}:delta_logit"])
            changes.setdefault(motif, {kind: [] for kind in KINDS})[true["effect"]].append(delta)

figure = Figure(figsize=(9, 3.2), layout="constrained")
for axes, (motif, by_kind) in zip(figure.subplots(1, 4, sharey=True), changes.items(), strict=True):
    axes.boxplot(list(by_kind.values()), widths=0.6, flierprops={"markersize": 2})
    axes.set_xticks(range(1, 4), [f"{kind}\n{len(by_kind[kind])}" for kind in KINDS])
    axes.axhline(0, color="0.7", linewidth=0.8, zorder=0)
    axes.set_title(motif)
    axes.spines[["top", "right"]].set_visible(False)
figure.axes[0].set_ylabel("change of the logit")
figure.savefig("kinds.png", dpi=150)

from IPython.display import Image

Image("kinds.png", width=900)

# %% [markdown]
# A box spans the middle half of the alleles of a kind, the line is their median, and the number below is how many
# there are. Alleles that destroy a site lie below zero, those that create one above, and the rest around it. The
# outliers of "none" are alleles that weaken or strengthen a site without crossing the threshold by which the
# simulation calls it one, or that change a site of another factor that often stands beside.
#
# ## Every base of a region
#
# In-silico saturation mutagenesis needs no VCF: each base of a region is replaced by each of the other three. Here
# 80 bp around the first site of Cbf1.

# %%
from seqclass.variants import RegionSubstitutions
from seqclass.variants.region_map import RegionMap

with open("variants/sites.tsv", encoding="utf-8") as file:
    site = next(r for r in csv.DictReader(file, delimiter="\t") if r["motif"] == "Cbf1" and int(r["start"]) > 200)
start = int(site["start"]) - 35
region = RegionSubstitutions(f"{site['chrom']}:{start + 1}-{start + 80}", Genome("variants/genome.fa"), length=200)
names = [target.name for target in bundle.targets]
picture = RegionMap(region, bundle.targets, [names.index("Cbf1")])
score_variants(bundle, region, "region.tsv", also=[picture])
picture.draw("region.png")
print(f"Cbf1's site: {site['chrom']}:{int(site['start']) + 1}-{site['end']}")
Image("region.png", width=900)

# %% [markdown]
# Blue columns are bases that the model needs. They must be those of the site, and in it the core `CACGTG` most.
#
# ## How extreme is an effect?
#
# A number by itself says little. The share of unremarkable variants with at least such an effect is an **E-value**:
# score variants that are common in the population with the same bundle, keep them as HDF5, and give them as
# background.

# %%
from seqclass.variants import Background

with open("common.vcf", "w", encoding="utf-8") as common, open("variants/variants.vcf", encoding="utf-8") as vcf:
    lines = vcf.readlines()
    header = [line for line in lines if line.startswith("#")]
    common.writelines(header + lines[len(header) :: 2])
score_variants(bundle, VcfVariants("common.vcf", Genome("variants/genome.fa"), length=200), "common.h5")
background = Background.read("common.h5", bundle.targets)
score_variants(bundle, variants, "with-evalues.tsv", background=background)
with open("with-evalues.tsv", encoding="utf-8") as file:
    least = min(csv.DictReader(file, delimiter="\t"), key=lambda row: float(row["min_evalue"]))
change = f"{least['chrom']} {least['pos']} {least['ref']} > {least['alt']}"
print(f"most extreme: {change}, E = {float(least['min_evalue']):.3f}")

# %% [markdown]
# (For want of a population, every second variant of the same file stands in for the common ones here. Real ones
# should not be those that you ask about.)
#
# ## Does it know what is destroyed?
#
# Over the four factors: does the change of the logit tell alleles that destroy a site from those that do nothing to
# it? An AUROC of .5 would be chance.

# %%
from seqclass.metrics import rank

destroyed = np.concatenate([by_kind["destroys"] for by_kind in changes.values()])
neutral = np.concatenate([by_kind["none"] for by_kind in changes.values()])
labels = np.repeat([1, 0], [len(destroyed), len(neutral)]).astype(np.int8)
found = rank(labels, -np.concatenate([destroyed, neutral]))
print(f"destroyed against untouched sites: AUROC {found.auroc:.2f}")
