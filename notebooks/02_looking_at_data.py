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
# # 2. Looking at data
#
# Look before you train. How many samples has each class? How long are the sequences? Does composition alone give
# the classes away? Is one class a hundred times as frequent as another? Do train and test share what they should
# not? One function, `check_store`, answers most of it; this notebook reads its pictures and shows what follows for
# training.

# %%
import os
import tempfile

os.chdir(tempfile.mkdtemp())
# %matplotlib inline

# %% [markdown]
# ## Proteins and their locations
#
# Simulated proteins with sorting signals, in the layout of DeepLoc: the location in the cell, one of ten, and a
# second question, whether the protein lies in a membrane. The simulation gives each location as many proteins; we
# keep them in the proportions of the real data, in which the nucleus is 26 times as frequent as the peroxisome.

# %%
from collections import Counter
from pathlib import Path

from seqclass.data.fasta import read_fasta
from seqclass.data.simulate.localisation import simulate_deeploc

REAL = {"Nucleus": 4043, "Cytoplasm": 2542, "Extracellular": 1973, "Mitochondrion": 1510, "Cell.membrane": 1340}
REAL |= {
    "Endoplasmic.reticulum": 862,
    "Plastid": 757,
    "Golgi.apparatus": 356,
    "Lysosome/Vacuole": 321,
    "Peroxisome": 154,
}

simulate_deeploc("deeploc", proteins=2000)
kept: Counter[str] = Counter()
with open("proteins.fasta", "w") as file:
    for record in read_fasta("deeploc/deeploc.fasta"):
        location = record.description.rsplit("-", 1)[0]
        if kept[location] < 200 * REAL.get(location, 0) / REAL["Nucleus"]:
            kept[location] += 1
            file.write(f">{record.name} {record.description}\n{record.letters.decode()}\n")
print(dict(kept))

# %%
from seqclass.data.describe import describe
from seqclass.data.sources.deeploc import import_deeploc
from seqclass.terminal import show

store = import_deeploc("proteins.fasta", "deeploc.h5")
show(describe(store))

# %% [markdown]
# `check_store` writes a folder: `check.html`, one page to send around, and the pictures in it.

# %%
from seqclass.data.check import check_store

check = check_store(store, "check")
for verdict in check.verdicts:
    print(f"{verdict.grade:5} {verdict.what}: {verdict.finding}")

# %% [markdown]
# Leaks come first, then what is worth a note. The membrane question has missing labels, which is right: of some
# proteins nobody knows. Now the pictures.
#
# ### Class counts

# %%
from IPython.display import Image

Image("check/classes.png", width=700)

# %% [markdown]
# A bar a target, the parts of the splits side by side. Look for classes with hardly a test sample: of these no
# score can be told. Look at the longest bar: a model that always says the most frequent location is right that
# often, and accuracy has to be read against it.

# %%
import numpy as np

names = [target.name for target in store.targets]
location = store.layout.members("location")
positives = store.positives("train")[location]
largest = location[positives.argmax()]
print(f"largest class: {names[largest]}, {positives.max() / positives.sum():.0%} of train")
print(f"largest to smallest: {positives.max() / positives.min():.0f} to 1")

# %% [markdown]
# ### Lengths

# %%
Image("check/lengths.png", width=700)

# %% [markdown]
# The splits should look alike; shares are drawn, not counts, so that small splits can be compared. Batches are
# filled with samples of about one length, so a wide distribution costs little padding. Sequences beyond 1,000
# residues had their middle cut out at the import (`--max-length`, `--too-long`), which the notes above say.
#
# ### Composition

# %%
Image("check/composition.png", width=700)

# %% [markdown]
# The splits agree here, too. Between classes they need not: membrane proteins are rich in hydrophobic residues.
# What composition alone can tell is a baseline that a model has to beat, and every evaluation fits it for you
# (notebook 5). How different is it by class?

# %%
from seqclass.data.tape import read_samples

shares = {}
for name in ("Cell membrane", "Nucleus"):
    samples = store.samples("train")
    samples = samples[store.labels(samples)[:, names.index(name)] == 1]
    tokens, mask = read_samples(store, samples)
    counts = np.bincount(tokens.ravel() if mask is None else tokens[mask], minlength=21)[:20]
    shares[name] = counts / counts.sum()
apart = np.log2(shares["Cell membrane"] / shares["Nucleus"])
order = np.argsort(apart)[::-1]
print("more in membrane proteins:", " ".join(f"{store.alphabet.letters[i]} {apart[i]:+.1f}" for i in order[:4]))
print("more in nuclear proteins: ", " ".join(f"{store.alphabet.letters[i]} {apart[i]:+.1f}" for i in order[:-5:-1]))

# %% [markdown]
# The numbers are log2 of the ratio of shares, cell membrane to nucleus.
#
# ## Many classes: the long tail
#
# Protein families differ in size by orders of magnitude. Here are 100 simulated families, of which we keep as many
# members as a power law says: the k-th largest has 1/k of the members of the largest, and none has fewer than
# three.

# %%
import csv

from seqclass.alphabets import PROTEIN
from seqclass.data.simulate.families import simulate_pfam
from seqclass.data.sources.table import import_table

simulate_pfam("pfam", families=100, members=120)
members: dict[str, list[str]] = {}
for split, named in (("train", "train"), ("dev", "valid"), ("test", "test")):
    for path in sorted(Path("pfam/random_split", split).iterdir()):
        with open(path, encoding="utf-8") as file:
            for row in csv.DictReader(file):
                line = f"{row['sequence_name']},{row['sequence']},{row['family_accession']},{named}\n"
                members.setdefault(row["family_accession"], []).append(line)
generator = np.random.default_rng(0)
with open("tail.csv", "w", encoding="utf-8") as file:
    file.write("id,sequence,family,split\n")
    for rank, lines in enumerate(members.values(), start=1):
        file.writelines(generator.permutation(lines)[: max(3, round(len(lines) / rank))])
tail = import_table("tail.csv", "tail.h5", alphabet=PROTEIN, labels=["family"], split="split")
check_store(tail, "check-tail")
Image("check-tail/classes.png", width=700)

# %% [markdown]
# With more than 30 classes there is no room for names, so the picture shows counts by rank on a logarithmic axis;
# each split is sorted by itself. The steep fall and the flat end behind it are the long tail: most families have
# only a handful of samples, and in valid and test most have none. Of those the test says nothing.

# %%
counts = np.sort(tail.positives("train"))[::-1]
print(f"the ten largest families hold {counts[:10].sum() / counts.sum():.0%} of the training samples")
none = (tail.positives("test") == 0).sum()
print(f"{(counts < 10).sum()} of {len(counts)} families have fewer than ten; {none} have none in test")

# %% [markdown]
# ## What to do about imbalance
#
# First: measure so that it shows. Accuracy hides rare classes; reports therefore give the mean over classes,
# average precision for each target, and accuracy by family size. Second, in training:
#
# | option of `seqclass fit` | what it does |
# |---|---|
# | `--data.sampling balanced` | draws samples so that all targets come about as often |
# | `--recipe.loss.balance positives` | weighs rare targets up in the loss |
# | `--recipe.loss.balance effective-number` | the same, softer (Cui et al. 2019) |
# | `--recipe.loss.kind focal` | attends to what is still wrong (Lin et al. 2017) |
# | `--recipe.prior_from_train true` (the default) | starts each output at its frequency |
#
# What `balanced` would draw can be asked beforehand: the expected share of each class in an epoch.

# %%
from seqclass.data.sampling import balanced_weights

samples = tail.samples("train")
weights = balanced_weights(tail.layout, tail.packed_labels(samples))
family = tail.classes(samples)[:, 0]
drawn = np.bincount(family, weights) / weights.sum()
plain = np.bincount(family) / len(family)
print(f"share of the largest family: {plain.max():.1%} as it is, {drawn[plain.argmax()]:.1%} balanced")
print(f"share of the smallest family: {plain.min():.2%} as it is, {drawn[plain.argmin()]:.2%} balanced")

# %% [markdown]
# ## A genome: positives are rare
#
# In a genome most bins carry nothing. This is the usual imbalance of regulatory genomics: about one bin in ten for
# each simulated target, one in a hundred in real ChIP data. AUROC looks good on such data whatever the model does;
# average precision does not, and its chance level is the share of positives.

# %%
from seqclass.data.simulate.peaks import simulate_peaks
from seqclass.data.sources.peaks import import_peaks

raw = simulate_peaks("peaks", chromosomes=3, length=100_000)
peaks = import_peaks(
    "peaks.h5", genome=raw / "genome.fa", peaks=raw / "peaks", valid_chroms=["chr2"], test_chroms=["chr3"]
)
check_store(peaks, "check-peaks")
Image("check-peaks/classes.png", width=700)

# %% [markdown]
# How many labels has a bin? Targets often go together, and a model can gain much by knowing "something binds here"
# alone. The baseline "shared count" of a report measures just that.

# %%
labels = peaks.labels(peaks.samples("train"))
for number, bins in enumerate(np.bincount(labels.sum(axis=1))):
    print(f"{number} labels: {bins:4} bins ({bins / len(labels):.0%})")

# %% [markdown]
# ## Did we see what was planted?
#
# The tail was made by a power law with exponent -1. A line through the logarithms of count and rank, where families
# are not yet at the floor of three members, should find it:

# %%
sizes = sum(tail.positives(split) for split in ("train", "valid", "test"))
sizes = np.sort(sizes)[::-1]
above = sizes > 3
slope = np.polyfit(np.log(np.arange(1, len(sizes) + 1)[above]), np.log(sizes[above]), 1)[0]
print(f"slope of the tail: {slope:.2f}")
