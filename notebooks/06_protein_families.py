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
# # 6. Protein families: ProtCNN, an ensemble, and a map
#
# Which of many families does a protein domain belong to? ProtCNN (Bileschi et al. 2022) answers with dilated
# convolutions over the whole domain and a maximum over its residues; ProtENN is an ensemble of them. This notebook
# trains a small one on simulated families in the layout of the Pfam seed split, joins three, holds them against
# simple baselines, and draws a map of how the model sees sequences.

# %%
import os
import tempfile

os.chdir(tempfile.mkdtemp())

# %% [markdown]
# ## Families
#
# Twelve families, each evolved along a tree from a root of its own; `depth` is the number of substitutions a site
# from the root to each member. The real split has 17,929 families: `seqclass data fetch pfam-random` downloads it,
# and everything below works on it as it is (on a GPU).

# %%
from seqclass.data.describe import describe
from seqclass.data.simulate.families import simulate_pfam
from seqclass.data.sources.pfam import import_pfam
from seqclass.terminal import show

simulate_pfam("pfam", families=12, members=60, depth=1.0)
store = import_pfam("pfam/random_split", "pfam.h5")
show(describe(store, most_targets=3))

# %% [markdown]
# ## ProtCNN
#
# The published network has 50 million parameters; `protcnn_small` is the same with fewer channels and blocks.
# Dilation spreads the taps of a convolution, so that three blocks see 113 residues at once.

# %%
from IPython.display import Markdown

from seqclass.models import create_model, protcnn_small
from seqclass.models.summary import summarise
from seqclass.training.run_card import stage_table

small = create_model("protcnn_small", num_targets=12, alphabet="protein", channels=64, bottleneck=32)
Markdown(stage_table(summarise(small, length=110)))

# %% [markdown]
# ## Three members, one bundle
#
# `--ensemble 3` trains three models that differ in their seed alone, joins them, calibrates the whole on
# validation, and judges each member beside the ensemble. Samples of different lengths share a batch with such of
# about their length; padding changes no result.

# %%
from IPython.utils.capture import capture_output

from seqclass.training import run_experiment

RECIPE = {"trainer.max_epochs": 9, "data.batch_size": 16, "recipe.learning_rate": 0.003}
RECIPE |= {"model.channels": 64, "model.bottleneck": 32}
with capture_output():
    metrics = run_experiment(
        protcnn_small, name="protenn", defaults=RECIPE, arguments=["fit", "--data.store=pfam.h5", "--ensemble=3"]
    )
for name, figures in sorted(metrics["accuracy"]["family"].items(), key=lambda pair: -pair[1]["accuracy"]):
    print(f"{name:20} accuracy {figures['accuracy']:.3f}")

# %% [markdown]
# Members stand in the list under their seeds. An ensemble errs where most of its members err in the same way, so it
# is rarely worse than its best member and usually better than their mean.
#
# Now look at the baselines, which are in every report: composition, the nearest neighbour by k-mers, logistic
# regression on k-mers. On 48 close relatives a family they are hard to beat, and a network that starts from nothing
# has to catch up with them. It pays with more data and more remote relatives: on the real split,
# `experiments/README.md` has the figures.
#
#
# ## Which family is taken for which?

# %%
from IPython.display import Image

Image("runs/protenn/report/confusion.png", width=600)

# %% [markdown]
# Rows are true families and columns what was said; a dark diagonal is good.
#
# ## How sure is it?
#
# A prediction has a probability for each family, and of an ensemble a spread: how far the members disagree.

# %%
import numpy as np

import seqclass
from seqclass.data.tape import read_samples

bundle = seqclass.load("runs/protenn/bundle")
test = store.samples("test")
names = [target.name for target in store.targets]
proteins = []
for sample in test:
    tokens, _ = read_samples(store, [sample])
    proteins.append((store.names(np.array([sample]))[0], store.alphabet.decode(tokens[0])))
predictions = list(bundle.predict(proteins))
truth = [names[number] for number in store.classes(test)[:, 0]]
for prediction, family in list(zip(predictions, truth, strict=True))[:6]:
    first = prediction.top(1)[0]
    spread = prediction.spread[names.index(first.name)]
    print(f"true {family}   said {first.name} ({first.probability:.2f}, spread {spread:.2f})")

# %% [markdown]
# ## A map of what it has learned
#
# The **embedding** of a sequence is the mean over its residues of what reaches the head. A bundle carries the
# embeddings of training samples, reduced to their principal components; `place` puts other sequences on the same
# map. Dots are training samples by family, rings are test samples.

# %%
from pathlib import Path

from seqclass.drift.observe import place
from seqclass.drift.pictures import plot_map

tokens = [bundle.alphabet.encode(letters) for _, letters in proteins]
points = place(bundle, tokens)
plot_map(Path("map.png"), bundle.summary, bundle.targets, points)
Image("map.png", width=800)

# %% [markdown]
# Families form clouds, and test samples fall into them. Two components show a part of the truth only (their shares
# are on the axes); grey dots are families beyond the colours that can be told apart. A sequence of no known family
# would lie off the clouds: `seqclass drift` tells whether a whole file does.
#
# The same vectors go into other programs: `seqclass embed --backbone runs/protenn/bundle proteins.fasta
# vectors.h5`, from a bundle of one model.
#
# ## Do neighbours on the map share their family?
#
# For each test sample, the nearest training sample among all the components that the bundle keeps:

# %%
distance = ((points[:, None] - bundle.summary.points[None]) ** 2).sum(axis=2)
nearest = bundle.summary.labels[distance.argmin(axis=1)]
same = np.mean([names[label] == family for label, family in zip(nearest, truth, strict=True)])
accuracy = metrics["accuracy"]["family"]["model"]["accuracy"]
print(f"ensemble: accuracy {accuracy:.2f}; nearest neighbour on the map: accuracy {same:.2f}; chance: {1 / 12:.2f}")
