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
# # 3. Designing a model from blocks
#
# A model is four blocks in a row: an **embedding** turns letters into vectors, a **stem** of convolutions finds
# short patterns and shortens the sequence, an **encoder** relates what lies far apart, and a **head** makes one
# number a target of it. This notebook puts them together by hand, looks at shapes, parameters and arithmetic, and
# then measures two choices: one-hot letters against a learned embedding, and an encoder against none.

# %%
import os
import tempfile

os.chdir(tempfile.mkdtemp())

# %% [markdown]
# ## Block by block
#
# All blocks speak one layout, `(batch, length, channels)`. Every sequence block takes a tensor and a mask (which
# positions are real, None where all are) and gives both. So you can run one by one and look:

# %%
import torch

from seqclass.blocks import CentreMax, DenseHead, OneHotEmbedding, TransformerXLEncoder, WideResNetStem

letters = OneHotEmbedding("dna")
stem = WideResNetStem(in_channels=4, channels=32, widths=(64, 64), strides=(2, 2), expansion=2)
encoder = TransformerXLEncoder(channels=64, layers=1, heads=4, head_size=16, inner=64)
head = DenseHead(in_channels=64 + 64, num_targets=5, pool=CentreMax(centre=50), hidden=64)

tokens = torch.randint(4, (8, 200))
embedded, mask = letters(tokens)
found, mask = stem(embedded, mask)
related, mask = encoder(found, mask)
logits = head(torch.cat([found, related], dim=2), mask)
shown = {"tokens": tokens, "embedding": embedded, "stem": found, "encoder": related, "head": logits}
for name, tensor in shown.items():
    print(f"{name:10} {tuple(tensor.shape)}")

# %% [markdown]
# Eight sequences of 200 bp; one channel a letter; two strides of 2 leave 50 positions; the encoder changes no
# shape. The head sees the stem's channels *beside* the encoder's, which is the **skip connection**: what the
# convolutions found reaches the head whatever the encoder makes of it.
#
# `SequenceClassifier` does the same in one block, and checks that neighbours fit:

# %%
from seqclass.models import SequenceClassifier

model = SequenceClassifier(letters, stem, encoder, head, skip="concatenate", alphabet="dna")
model(tokens).shape

# %%
from seqclass.errors import AssemblyError

try:
    SequenceClassifier(letters, stem, encoder, DenseHead(64, 5, CentreMax(50)))
except AssemblyError as error:
    print(error)

# %% [markdown]
# ## Shapes, parameters, arithmetic
#
# `summarise` lists the stages in the order of the data. Nothing is computed for it: shapes alone pass through a
# copy of the model without numbers, so it takes no time for a model of any size. FLOPs are those of one sample,
# forward; a multiplication and an addition are two. Training takes about three times as many.

# %%
from IPython.display import Markdown

from seqclass.models.summary import summarise
from seqclass.training.run_card import stage_table

Markdown(stage_table(summarise(model, length=200)))

# %% [markdown]
# Compare the last two columns: the head's dense layer has many parameters and hardly any arithmetic, the encoder
# the other way round. Arithmetic goes with the number of positions, and that of attention with its square. So a
# stride early on is the cheapest way to a faster model, and the first thing that costs accuracy where motifs are
# short.
#
# The library's models by name are such assemblies. This is the original DNA model, for 1,000 bp and 919 targets, as
# `seqclass models show wrn_transformer_xl --num-targets 919` prints it:

# %%
from seqclass.models import create_model, list_models

print(*list_models())
original = create_model("wrn_transformer_xl", num_targets=919, length=1000)
stages = summarise(original)
Markdown(stage_table([stage for stage in stages if "." not in stage.name]))

# %% [markdown]
# ## Two choices, measured
#
# A **one-hot** embedding has no parameters: the first convolution reads letters, and its filters can be drawn as
# motifs. A **learned** embedding gives each letter a vector of 32 numbers, which costs a wider first convolution.
# For four letters there is little to learn; for 20 amino acids, of which some are alike, there is more.
#
# An **encoder** lets every position look at every other one. It pays where the answer depends on two things and
# their distance. One target here does: `Reb1+Rap1` is present only where both motifs stand 6 bp apart on one
# strand. But convolutions of enough reach can learn that, too.
#
# The function below builds all four variants. Its typed arguments become options of the training command.
# `num_targets` comes from the data.

# %%
from typing import Literal

from seqclass.blocks import LearnedEmbedding


def variant(
    num_targets: int, embedding: Literal["one-hot", "learned"] = "one-hot", layers: int = 0
) -> SequenceClassifier:
    letters = OneHotEmbedding("dna") if embedding == "one-hot" else LearnedEmbedding(32, "dna")
    stem = WideResNetStem(letters.out_channels, 32, (64, 64), (2, 2), expansion=2)
    encoder = TransformerXLEncoder(64, layers, inner=64) if layers else None
    head = DenseHead(128 if layers else 64, num_targets, CentreMax(200 // stem.stride), hidden=64)
    return SequenceClassifier(letters, stem, encoder, head)


# %% [markdown]
# The data are simulated peaks on 800,000 bp, 2,000 bins of them to train on. Each run takes a few seconds; what it
# prints is left out here (notebook 4 looks at it).

# %%

from IPython.utils.capture import capture_output

from seqclass.bundle import Bundle
from seqclass.data.simulate.peaks import simulate_peaks
from seqclass.data.sources.peaks import import_peaks
from seqclass.training import run_experiment

raw = simulate_peaks("raw", chromosomes=4, length=200_000, positives=0.15)
import_peaks(
    "peaks.h5",
    genome=raw / "genome.fa",
    peaks=raw / "peaks",
    window=200,
    valid_chroms=["chr3"],
    test_chroms=["chr4"],
)
RECIPE = {"trainer.max_epochs": 4, "data.batch_size": 64, "recipe.learning_rate": 0.003}

rows = ["embedding | encoder | parameters | MFLOPs a sample | validation average precision", "---|---|---:|---:|---:"]
for embedding in ("one-hot", "learned"):
    for layers in (0, 1):
        name = f"{embedding}-{layers}"
        options = ["--data.store=peaks.h5", f"--model.embedding={embedding}", f"--model.layers={layers}"]
        with capture_output():
            run_experiment(variant, name=name, defaults=RECIPE, arguments=["fit", *options, "--evaluate=false"])
        trained = Bundle.load(f"runs/{name}/bundle")
        whole = summarise(trained.model, 200)[-1]
        score = trained.provenance["valid_average_precision"]
        with_encoder = "one layer" if layers else "none"
        rows.append(f"{embedding} | {with_encoder} | {whole.parameters:,} | {whole.flops / 1e6:.1f} | {score:.3f}")
Markdown("\n".join(rows))

# %% [markdown]
# Read the table with care: it is one seed and four epochs of a small data set, in which all four are still
# learning, and another seed may rank them otherwise. What can be said is what each part costs, and that nothing
# here needs the encoder. A fair comparison takes several seeds, a test split, and enough steps;
# `experiments/yeast_ablation.py` makes it on real data.
#
# ## A model is data
#
# Each block remembers the arguments that it was built with. So an assembly turns into plain JSON and back, without
# the script that made it and without pickle. That, the weights and the targets are the **bundle** that training
# writes.

# %%
import json

from seqclass.blocks import build

config = trained.model.config()
print(json.dumps(config["arguments"]["stem"]["arguments"]))
again = build(config)
again.load_state_dict(trained.model.state_dict())
assert torch.equal(again.eval()(tokens), trained.model.eval()(tokens))
sorted(path.name for path in trained.path.iterdir())

# %% [markdown]
# ## A block of your own
#
# A block is a module with `in_channels`, `out_channels`, and for a stem `stride` and `out_length`. With the
# decorator it can be named in a bundle. Here is a stem that is one wide convolution, the kind that reads a whole
# motif at once:

# %%
from torch import Tensor, nn

from seqclass.blocks import Block, register_block


@register_block
class MotifStem(Block):
    """One convolution and a ReLU, `(batch, length, in_channels)` to `(batch, length, out_channels)`."""

    stride = 1

    def __init__(self, in_channels: int, out_channels: int, width: int = 15) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.convolution = nn.Conv1d(in_channels, out_channels, width, padding="same")

    def out_length(self, length: int) -> int:
        return length

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        return self.convolution(x.transpose(1, 2)).relu().transpose(1, 2), mask


own = SequenceClassifier(letters, MotifStem(4, 64), None, DenseHead(64, 5, CentreMax(200), hidden=64))
Markdown(stage_table(summarise(own, 200)))

# %% [markdown]
# (A stem for sequences of different lengths must also see to padding; `docs/architecture.md` says how, and which
# test checks it.)
#
# ## Is the arithmetic right?
#
# The original model is published with its number of parameters, 39,286,287 with four rows of embedding. `summarise`
# counts:

# %%
print(f"parameters of the original DNA model: {stages[-1].parameters:,}")
