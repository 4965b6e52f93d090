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
# # 4. Training
#
# From an assembled model to a trained bundle: find a learning rate, train, watch the run in TensorBoard inside the
# notebook, look at the flow of gradients, and make sure that the same seed gives the same weights.

# %%
import os
import tempfile

os.chdir(tempfile.mkdtemp())
# %matplotlib inline

# %% [markdown]
# ## Data and model
#
# Simulated peaks, as in notebook 3: 2,000 bins of 200 bp to train on, 1,000 each for validation and test, five
# targets. The model is a small stem and a head. `run_experiment` turns a function that builds a model into a
# command with options; from a notebook, `arguments` are what would stand on the command line.

# %%
from seqclass.blocks import CentreMax, DenseHead, OneHotEmbedding, WideResNetStem
from seqclass.data.simulate.peaks import simulate_peaks
from seqclass.data.sources.peaks import import_peaks
from seqclass.models import SequenceClassifier

raw = simulate_peaks("raw", chromosomes=4, length=200_000, positives=0.15)
store = import_peaks(
    "peaks.h5",
    genome=raw / "genome.fa",
    peaks=raw / "peaks",
    window=200,
    valid_chroms=["chr3"],
    test_chroms=["chr4"],
)


def small(num_targets: int, width: int = 64) -> SequenceClassifier:
    stem = WideResNetStem(4, 32, (width, width), (1, 2), expansion=2)
    head = DenseHead(width, num_targets, CentreMax(200 // stem.stride), hidden=64)
    return SequenceClassifier(OneHotEmbedding("dna"), stem, None, head)


# %% [markdown]
# ## Which learning rate?
#
# The range test trains for some steps under a rate that grows from 1e-6 to 10, and looks at the loss.

# %%
from IPython.display import Image

from seqclass.training import run_experiment

found = run_experiment(
    small,
    name="small",
    arguments=["lr-find", "--data.store=peaks.h5", "--data.batch_size=64", "--steps=100"],
)
Image("runs/small-lr-find/lr_find.png", width=600)

# %% [markdown]
# From the left: too small a rate, and the loss stays where it is; then it falls; at the right end it explodes. The
# suggestion is a tenth of the rate at which the loss was least. It is a place to begin with, not a law: half and
# twice of it are worth a try.
#
# ## Train
#
# The run prints a line an epoch: how fast, the loss, and how well validation is ranked. Average precision (chance
# level: the share of positives) decides which epoch is kept. At the end the test split is judged, which nothing
# before has looked at; the baselines beside it are fitted on the same data.

# %%
RECIPE = {
    "trainer.max_epochs": 6,
    "trainer.log_every_n_steps": 5,
    "data.batch_size": 64,
    "recipe.learning_rate": round(found["learning_rate"], 5),
}
metrics = run_experiment(small, name="small", defaults=RECIPE, arguments=["fit", "--data.store=peaks.h5"])

# %% [markdown]
# Everything is in the run's folder: the options as they were resolved, the logs, the checkpoints to go on from, the
# bundle, the report.

# %%
from pathlib import Path

print(*sorted(str(path) for path in Path("runs/small").iterdir()), sep="\n")
print(Path("runs/small/config.yaml").read_text()[:400], "...", sep="")

# %% [markdown]
# ## TensorBoard, inside the notebook
#
# The next cell opens TensorBoard on the runs. (In a saved copy of this notebook the frame is empty: it shows a
# server that runs only while the notebook does.) Look at **Scalars** for losses, learning rate and speed; at
# **Images** for precision-recall and ROC curves after each validation, gradient flow and weights; at **HParams**
# for the options of all runs beside their scores; at **Text** for the table of stages.

# %%
# %load_ext tensorboard
# %tensorboard --logdir runs

# %% [markdown]
# The same figures as a picture that stays: the learning rate, which warms up and then falls along a cosine, and the
# losses.

# %%
from seqclass.training.run_curves import draw_runs

draw_runs({"small": "runs/small"}, ["train/learning_rate", "train/loss", "valid/loss", "valid/average_precision"])

# %% [markdown]
# ## Gradient flow
#
# How large are the gradients, layer by layer? If they vanish on the way to the first layers, these do not learn; if
# they explode, training diverges. The run has drawn it into TensorBoard (`gradient_flow`, at first and then every
# 500 steps). The last of these pictures:

# %%
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

events = EventAccumulator("runs/small/logs").Reload()
Image(events.Images("gradient_flow")[-1].encoded_image_string, width=600)

# %% [markdown]
# From above: from the input to the output. Dark bars are means and light bars the largest magnitudes, on a
# logarithmic axis. A healthy network has bars of a few decades at most, without a trend.
#
# ### A model that cannot learn
#
# Now break one: the weights of its last layer are zero, so whatever comes before makes no difference to the loss.
# The functions behind the picture take any model after a backward pass:

# %%
import torch

from seqclass.data.tape import read_samples
from seqclass.training.gradient_flow import draw_magnitudes, layers, magnitudes

tokens = torch.from_numpy(read_samples(store, store.samples("train")[:64])[0])
labels = torch.from_numpy(store.labels(store.samples("train")[:64])).float()
torch.manual_seed(0)
broken = small(num_targets=store.num_targets)
with torch.no_grad():
    broken.head.out.weight.zero_()
torch.nn.functional.binary_cross_entropy_with_logits(broken(tokens), labels).backward()
gradients = {name: weight.grad for name, weight in layers(broken).items() if weight.grad is not None}
draw_magnitudes(magnitudes(gradients), "Gradient flow with a last layer of zeros")

# %% [markdown]
# All names but the last are red: these gradients are exactly zero. The last layer itself has a gradient, so it will
# move, and only then do the others begin to learn. A picture in which some names *stay* red shows layers that are
# not connected to the loss, or units that are dead.
#
# ## The same seed gives the same weights
#
# Initialisation, order of samples, strands and dropout follow from `--seed`. Two runs with the same seed end in the
# same bytes; another seed does not. A run that is killed goes on with `--resume`, and ends in these bytes, too
# (`docs/durability.md`).

# %%
from IPython.utils.capture import capture_output

from seqclass.bundle import Bundle
from seqclass.saved import weights_digest

digests = {}
for name, seed in (("first", 0), ("again", 0), ("other", 1)):
    options = [f"--seed={seed}", "--model.width=16", "--trainer.max_epochs=1", "--evaluate=false"]
    with capture_output():
        run_experiment(small, name=name, defaults=RECIPE, arguments=["fit", "--data.store=peaks.h5", *options])
    digests[name] = weights_digest(Bundle.load(f"runs/{name}/bundle").model)
    print(name, digests[name][:12])

# %% [markdown]
# ## Has it learned?
#
# The last layer must have silenced exactly those before it; two equal runs must be equal; and the run must have
# found the planted motifs, which a model that knows nothing would rank with an average precision of the share of
# positives.

# %%
dead = [name for name, gradient in gradients.items() if not gradient.any()]
assert dead == [name for name in gradients if name != "head.out"]
assert digests["first"] == digests["again"] != digests["other"]
precision = metrics["model"]["average_precision"]["mean"]
chance = metrics["baselines"]["prevalence"]["average_precision"]["mean"]
print(f"average precision {precision:.2f} on the test split, where chance gives {chance:.2f}")
