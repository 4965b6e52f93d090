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
# # 1. Data preparation: from raw formats to stores
#
# Whatever you have, a FASTA file, a table, a genome with peaks, MATLAB files, embeddings, becomes one kind of file:
# a **store**. It is one HDF5 file that training, evaluation and all other notebooks read. This notebook makes one
# of each format, looks inside, divides samples into train, valid and test, and shows what bad input says.
#
# All data here are simulated, with known truth, so it runs without a network. What it writes goes to a temporary
# folder.

# %%
import os
import tempfile

os.chdir(tempfile.mkdtemp())

# %% [markdown]
# ## FASTA with labels in the headers
#
# The commands of `seqclass data simulate` write data in the raw format of each source. Here are proteins of three
# classes, as FASTA; class and split stand in each header.

# %%
# !seqclass data simulate fasta --proteins 300 --out fasta

# %%
# !head -n 3 fasta/proteins.fasta

# %% [markdown]
# The label is whatever a regular expression finds in the header. The command would be
#
#     seqclass data import fasta fasta/proteins.fasta --alphabet protein --out proteins.h5 \
#         --label-regex 'class=(\S+)' --split-regex 'split=(\S+)'
#
# and every command is a Python function with the same arguments:

# %%
from seqclass.alphabets import PROTEIN
from seqclass.data.describe import describe
from seqclass.data.sources.fasta import import_fasta
from seqclass.terminal import show

proteins = import_fasta(
    "fasta/proteins.fasta",
    "proteins.h5",
    alphabet=PROTEIN,
    label_regex=r"class=(\S+)",
    split_regex=r"split=(\S+)",
)
show(describe(proteins))

# %% [markdown]
# `seqclass data info proteins.h5` prints the same. Read it from above: how many sequences of which lengths; that
# the three targets **exclude** each other (a protein has one class, so their probabilities will add up to 1); how
# large each split is; how frequent each target is; and, at the end, a note on all that was changed or dropped on
# the way.
#
# ## A table with missing labels
#
# Two yes-or-no questions about each protein; an empty cell means that nobody knows. A missing label is left out of
# the loss and of all metrics, it is not a "no". The column `group` says which proteins are relatives: a split must
# not tear them apart.

# %%
from seqclass.data.simulate.motif_proteins import simulate_table
from seqclass.data.sources.table import import_table

simulate_table("table", proteins=300)
table = import_table(
    "table/proteins.csv",
    "table.h5",
    alphabet=PROTEIN,
    labels=["P-loop", "zinc-finger"],
    split="split",
    group="group",
)
table.known_labels(table.samples("train")[:5])

# %% [markdown]
# A row a protein, a column a target: 1 is yes, 0 is no, -1 is missing.
#
# ## A genome and peaks
#
# The genome is cut into bins of 200 bp. A bin carries a target if a peak lies in it, and the model sees the window
# around it. The split is by chromosome, so that no base is seen in two splits.

# %%
from seqclass.data.simulate.peaks import simulate_peaks
from seqclass.data.sources.peaks import import_peaks

raw = simulate_peaks("peaks", chromosomes=4, length=100_000)
peaks = import_peaks(
    "peaks.h5",
    genome=raw / "genome.fa",
    peaks=raw / "peaks",
    window=1000,
    bin=200,
    valid_chroms=["chr3"],
    test_chroms=["chr4"],
)
show(describe(peaks))

# %% [markdown]
# ## DeepSEA's MATLAB files
#
# The original data of DeepSEA are three MATLAB files, of which the largest holds 17 GB of numbers. They are read
# slice by slice. The second half of each split is the reverse complement of the first; the import verifies that,
# and keeps it as a view.

# %%
from seqclass.data.simulate.deepsea import simulate_deepsea
from seqclass.data.sources.deepsea import import_deepsea

raw = simulate_deepsea("deepsea", train=400, valid=100, test=100)
deepsea = import_deepsea("deepsea.h5", train=raw / "train.mat", valid=raw / "valid.mat", test=raw / "test.mat")
print(
    len(deepsea),
    "samples on",
    len(deepsea.contig_length),
    "sequences;",
    (deepsea.views.strand < 0).sum(),
    "of them read backwards",
)

# %% [markdown]
# ## Embeddings
#
# Vectors from a protein language model, one a protein or one a residue. The labels come from a table.

# %%
from seqclass.data.simulate.embeddings import simulate_embeddings
from seqclass.data.sources.embeddings import import_embeddings

simulate_embeddings("embeddings", proteins=200)
vectors = import_embeddings(
    "embeddings/embeddings.h5", "vectors.h5", labels_table="embeddings/labels.tsv", split="split"
)
print(vectors.input_kind, "of", vectors.vector_size, vectors.dtype, "numbers")

# %% [markdown]
# Pfam (`import_pfam`) and DeepLoc (`import_deeploc`) have importers of their own; notebook 6 uses the first. The
# public originals are downloaded by name, with a licence and a checksum each:

# %%
from seqclass.data.originals import ORIGINALS

for original in ORIGINALS:
    print(f"{original.name:15} {original.size or '-':11} {original.what}")

# %% [markdown]
# `seqclass data fetch deeploc-1.0` would get one, into a folder of its name.

# %% [markdown]
# ## What is inside
#
# A store is a **tape** of residues, one byte each, and **views** on it: contig, start, length and strand of each
# sample. So windows that overlap are not copied. The genome above has 400,000 bp; 2,000 windows of 1,000 bp would
# be five times as many:

# %%
print(f"{peaks.num_residues:,} residues on the tape, {peaks.views.length.sum():,} in all windows together")

# %% [markdown]
# `read_samples` gives what a model sees: tokens, 0 to 3 for A, C, G and T and 4 for N. The first window reaches
# over the chromosome's left end by 400 bp; there it reads N, never the end of a neighbouring chromosome.

# %%
from seqclass.data.tape import read_samples

tokens, mask = read_samples(peaks, [0, 1])
print(tokens.shape, "from", peaks.views.start[:2], "on", peaks.names([0, 1]))
for row in tokens:
    print(peaks.alphabet.decode(row)[390:450])

# %% [markdown]
# ## Splits
#
# Proteins have relatives, and relatives in train make a test too easy. `split_store` divides a store anew: at
# random, with equal shares of the classes, by group, by chromosome, or by **clusters** of similar sequences.
# `check_store` judges what splits have in common, and draws the pictures of the next notebook.
#
# In the table above, four proteins at a time come from one ancestor, and the table says which. A random split tears
# such groups apart, a split by group does not. Where nobody knows the groups, similarity does: two proteins are
# joined whose 5-mers have a Jaccard index of `level` or more. It does not see all relatives, as the last line
# shows: those that share few 5-mers stay apart.

# %%
from seqclass.data.check import check_store
from seqclass.data.splits import split_store

for by in ("random", "group", "cluster"):
    divided = split_store(table, by, level=0.03)
    verdicts = {verdict.what: verdict.finding for verdict in check_store(divided, f"check-{by}").verdicts}
    print(f"{by:8}{verdicts['groups']}")

# %% [markdown]
# ## What bad input says
#
# An error names the file, the record, what was found, and what to do. Nothing half-written is left behind. Here a
# digit has got into a sequence:

# %%
from pathlib import Path

from seqclass.errors import SeqclassError

Path("broken.fasta").write_text(">p1 class=A split=train\nMKVL\n>p2 class=B split=train\nMK7VL\n")
try:
    import_fasta("broken.fasta", "broken.h5", alphabet=PROTEIN, label_regex=r"class=(\S+)")
except SeqclassError as error:
    print(type(error).__name__, error, sep=": ")
print("a store was left behind:", Path("broken.h5").exists())

# %% [markdown]
# ## A format of your own
#
# A source is a generator of `Record`s; `import_records` does the rest: letters, duplicates, classes, splits, notes.
# Say that your collaborator sends lines of `name|class|sequence`:

# %%
from collections.abc import Iterator

from seqclass.data.sources.records import Question, Record, import_records

Path("lab.txt").write_text("e1|kinase|MKVLA\ne2|kinase|MRVLAAK\ne3|protease|GSHMLE\n")


def read_lab(path: Path) -> Iterator[Record]:
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        name, label, letters = line.split("|")
        yield Record(name, letters.encode(), (label,), path, number)


lab = import_records(
    read_lab(Path("lab.txt")),
    [Question("activity", "class")],
    "lab.h5",
    alphabet=PROTEIN,
    provenance={"source": "lab"},
)
print([target.name for target in lab.targets], lab.classes(lab.samples("train")).ravel())

# %% [markdown]
# ## Is it right?
#
# The simulated genome comes with a table of all planted sites. A bin must carry a target exactly where a true site
# has its middle. If the import is right, the labels of all bins agree with it:

# %%
import csv

import numpy as np

planted = np.zeros((len(peaks), peaks.num_targets), dtype=bool)
column = {target.name: number for number, target in enumerate(peaks.targets)}
sample = {
    (chrom, start + 400): number
    for number, (chrom, start) in enumerate(
        zip(peaks.names(np.arange(len(peaks))), peaks.views.start.tolist(), strict=True)
    )
}
with open("peaks/plants.tsv", encoding="utf-8") as file:
    for row in csv.DictReader(file, delimiter="\t"):
        if row["target"]:
            middle = int(row["start"]) + (int(row["end"]) - int(row["start"])) // 2
            planted[sample[row["chrom"], middle // 200 * 200], column[row["target"]]] = True
agree = (peaks.labels(np.arange(len(peaks))) == planted).mean()
print(f"labels that agree with the planted sites: {agree:.1%}")
