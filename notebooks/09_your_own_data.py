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
# # 9. Your own data in ten minutes
#
# You have a FASTA file of proteins, each with a class in its header. This notebook goes from there to a trained
# model, a report, predictions and explanations, with the commands you would type in a terminal (a `!` in front of
# each makes the notebook do it). Put your file in place of `mine.fasta`, change the expression that finds the
# label, and run it.

# %%
import os
import tempfile

os.chdir(tempfile.mkdtemp())
# Commands are to print plain lines, without colours and bars that are drawn anew.
os.environ["FORCE_COLOR"] = ""

# %% [markdown]
# ## The file
#
# Here it is a simulated one: eight families, 70 members each.

# %%
import csv
from pathlib import Path

from seqclass.data.simulate.families import simulate_pfam

simulate_pfam("pfam", families=8, members=70, depth=0.6)
with open("mine.fasta", "w") as fasta:
    for path in sorted(Path("pfam/random_split").rglob("data-*")):
        with open(path) as file:
            for row in csv.DictReader(file):
                fasta.write(
                    f">{row['sequence_name']} family={row['family_accession'].split('.')[0]}\n{row['sequence']}\n"
                )

# %%
# !head -n 4 mine.fasta

# %% [markdown]
# ## 1. Import and split
#
# The label is what the expression in parentheses finds in the header. No split is given, so the store gets one
# afterwards: 80 % to learn from, 10 % to choose by, 10 % to judge by, with equal shares of the classes. If your
# proteins are relatives of each other, use `--by cluster` instead, or the test will be too easy.

# %%
# !seqclass data import fasta mine.fasta --alphabet protein --label-regex "family=(\S+)" --out mine.h5
# !seqclass data split mine.h5 --by stratified

# %% [markdown]
# ## 2. Look before you train
#
# `check.html` has it all on one page. The exit code is 1 where splits share what they should not, and near
# duplicates between train and test are named.

# %%
# !seqclass data check mine.h5 --out check

# %% [markdown]
# A "note" is worth reading, an "ok" is not. Here each test protein has relatives in train, which is the question
# itself: to which family does it belong? Were the question another one, such as a protein's function, this line
# would say that the test is too easy.

# %%
from IPython.display import Image

Image("check/classes.png", width=700)

# %% [markdown]
# ## 3. Train
#
# `protcnn_small` is a good first model for proteins, `wrn` for DNA; `seqclass models list` shows the others. `fit`
# prints a line an epoch, keeps the best one, judges it on the test split, and compares it with simple baselines. If
# a baseline wins, believe it.

# %% magic_args="-e" language="bash"
# seqclass fit --model protcnn_small --data.store mine.h5 --out runs/mine \
#     --data.batch_size 16 --trainer.max_epochs 8 --recipe.learning_rate 0.003 \
#     --model.channels 64 --model.bottleneck 32 2>&1

# %% [markdown]
# ## 4. Read the report
#
# `runs/mine/report/index.html` is the page to send around. Its pictures:

# %%
Image("runs/mine/report/confusion.png", width=600)

# %% [markdown]
# ## 5. Predict
#
# Any FASTA file, or a pipe; a line a sequence, a column a class.

# %%
# !seqclass predict runs/mine/bundle mine.fasta --out scores.tsv --top-k 2
# !head -n 4 scores.tsv

# %% [markdown]
# ## 6. Explain
#
# Which residues speak for the class? The first sequence of the file, for its own family:

# %%
with open("mine.fasta") as file, open("one.fasta", "w") as one:
    header, *letters = file.read().split(">")[1].splitlines()
    one.write(f">{header}\n{''.join(letters)}\n")
family = header.split("family=")[1]
# !seqclass explain runs/mine/bundle one.fasta --target {family} --method integrated-gradients --out explain
Image(next(Path("explain").rglob("*.png")), width=900)

# %% [markdown]
# Blue bars are residues that speak for the family, grey ones against it; below, the letters of the most salient
# stretch.
#
# ## In Python
#
# Everything above is a function, too. The model as one folder:

# %%
import seqclass

bundle = seqclass.load("runs/mine/bundle")
for prediction in bundle.predict("one.fasta"):
    print(prediction.id, prediction.top(3))

# %% [markdown]
# ## Where to go from here
#
# - classes of very different size: notebook 2
# - a model of your own: notebook 3
# - a better learning rate, and what a run looks like inside: notebook 4
# - a protein language model in front: notebook 7
# - `seqclass serve runs/mine/bundle`: the model as a web service with a page
#
# ## Did it work?
#
# The test accuracy of the report, beside what the most frequent class gives:

# %%
import json

figures = json.loads(Path("runs/mine/report/metrics.json").read_text())["accuracy"]["label"]
print(f"test accuracy {figures['model']['accuracy']:.2f}, where {1 / 8:.2f} is chance")
