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
# # 7. Fine-tuning a protein language model
#
# A protein language model has read millions of sequences. To classify, it gets a linear head, and some or all of
# its weights are trained on: only the head (frozen), small adapters (LoRA), or everything. This notebook goes
# through all three, with a **tiny model of random weights** that is made here from a configuration, so that it runs
# in seconds and without a network. The commands are those for a real one; the scores are not.
#
# To take a real one, write its name on the Hugging Face hub, or the folder of a checkpoint, in place of `tiny-esm`:
# `facebook/esm2_t12_35M_UR50D` (35 million parameters, a laptop will do for a small data set),
# `facebook/esm2_t33_650M_UR50D`, `Rostlab/prot_bert` (`--model protbert`), `Rostlab/prot_t5_xl_half_uniref50-enc`
# (`--model prott5`). The last three want a GPU. The first time it is downloaded; later it comes from the cache.

# %%
import os
import tempfile

os.chdir(tempfile.mkdtemp())
# %matplotlib inline

# %% [markdown]
# ## A checkpoint
#
# ESM's architecture at a toy's size: two layers of width 32. A checkpoint is a folder with the configuration, the
# weights and the tokenizer's vocabulary, as transformers writes it.

# %%
from pathlib import Path

import torch
import transformers

transformers.logging.disable_progress_bar()
torch.manual_seed(0)
vocabulary = ["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO.-", "<null_1>", "<mask>"]
config = transformers.EsmConfig(
    vocab_size=len(vocabulary),
    pad_token_id=vocabulary.index("<pad>"),
    mask_token_id=vocabulary.index("<mask>"),
    position_embedding_type="rotary",
    max_position_embeddings=1026,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=64,
)
transformers.EsmForMaskedLM(config).save_pretrained("tiny-esm")
Path("tiny-esm/vocab.txt").write_text("\n".join(vocabulary))
transformers.EsmTokenizer("tiny-esm/vocab.txt").save_pretrained("tiny-esm")
print(*sorted(path.name for path in Path("tiny-esm").iterdir()))

# %% [markdown]
# ## Data
#
# Six simulated families. Mind the lengths with a real model: ESM-2 takes 1,022 residues, and a longer sequence is
# refused rather than cut. What becomes of it is decided at the import (`--max-length 1022 --too-long both-ends`).

# %%
from seqclass.data.simulate.families import simulate_pfam
from seqclass.data.sources.pfam import import_pfam

simulate_pfam("pfam", families=6, members=50, depth=0.6)
store = import_pfam("pfam/random_split", "pfam.h5")
print(f"{len(store)} proteins of {store.views.length.min()} to {store.views.length.max()} residues")

# %% [markdown]
# ## What each recipe trains
# | recipe | options |
# |---|---|
# | frozen: the head alone | `--model.frozen_layers 2`, as many as there are |
# | low-rank adapters (LoRA) | `--model.lora_rank 4` |
# | everything | a small learning rate, and `--recipe.optimiser.backbone_rate .02` for a pretrained encoder |
#
# Adapters are two small matrices beside a large one; they learn a change of low rank, with few weights. The fewer
# weights are trained, the larger the learning rate can be.

# %%
from seqclass.models import create_model

RECIPES = {
    "frozen": ["--model.frozen_layers=2", "--recipe.learning_rate=0.1"],
    "LoRA": ["--model.lora_rank=4", "--recipe.learning_rate=0.01"],
    "everything": ["--recipe.learning_rate=0.003"],
}
for name, options in {"frozen": {"frozen_layers": 2}, "LoRA": {"lora_rank": 4}, "everything": {}}.items():
    model = create_model("esm2", num_targets=6, pretrained="tiny-esm", **options)
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    total = sum(weight.numel() for weight in model.parameters())
    print(f"{name:11} trains {trained:6,} of {total:6,} weights")

# %% [markdown]
# ## Three runs

# %%
from IPython.utils.capture import capture_output

from seqclass.bundle import Bundle
from seqclass.models import esm2
from seqclass.training import run_experiment

COMMON = ["--data.store=pfam.h5", "--model.pretrained=tiny-esm", "--trainer.max_epochs=8", "--evaluate=false"]
COMMON += ["--data.batch_size=16", "--trainer.log_every_n_steps=5"]
for name, options in RECIPES.items():
    with capture_output():
        run_experiment(esm2, name=name, arguments=["fit", *COMMON, *options])
    bundle = Bundle.load(f"runs/{name}/bundle")
    print(f"{name:11} accuracy on validation {bundle.provenance['valid_accuracy']:.2f}")

# %%
from seqclass.training.run_curves import draw_runs

draw_runs({name: f"runs/{name}" for name in RECIPES}, ["train/loss", "valid/accuracy"])

# %% [markdown]
# The validation split has 30 proteins, so a few hundredths are one protein. Even an encoder of random weights mixes
# letters in some fixed way, from which the head can read off composition; that is enough for families as different
# as these. With a *pretrained* encoder, frozen is a strong start on little data, adapters come close to full
# fine-tuning at a fraction of the memory, and full fine-tuning needs a small learning rate before the head (1e-5 to
# 1e-4), or it forgets what the model knew.
#
#
# ## Frozen layers: compute the vectors once
#
# If nothing before the head learns, the same vectors are computed in every epoch. `embed` computes them once; a
# classifier of vectors then trains in seconds.

# %%
from seqclass.data.sources.embeddings import import_embeddings
from seqclass.data.tape import read_samples
from seqclass.embed.backbones import load_backbone
from seqclass.embed.extract import embed
from seqclass.models import embedding_mlp

names = [target.name for target in store.targets]
with open("proteins.fasta", "w") as fasta, open("labels.tsv", "w") as labels:
    labels.write("id\tlabel\tsplit\n")
    for split in ("train", "valid", "test"):
        samples = store.samples(split)
        for sample, family in zip(samples, store.classes(samples)[:, 0], strict=True):
            tokens, _ = read_samples(store, [sample])
            fasta.write(f">p{sample}\n{store.alphabet.decode(tokens[0])}\n")
            labels.write(f"p{sample}\t{names[family]}\t{split}\n")
embed(load_backbone("tiny-esm"), "proteins.fasta", "vectors.h5")
vectors = import_embeddings("vectors.h5", "vectors-store.h5", labels_table="labels.tsv", split="split")
with capture_output():
    run_experiment(
        embedding_mlp,
        name="vectors",
        arguments=["fit", "--data.store=vectors-store.h5", "--trainer.max_epochs=40", "--evaluate=false"],
    )
accuracy = Bundle.load("runs/vectors/bundle").provenance["valid_accuracy"]
print(f"{vectors.vector_size} numbers a protein; accuracy on validation {accuracy:.2f}")

# %% [markdown]
# ## What comes out
#
# A bundle holds the whole configuration of the encoder and its weights; adapters have become part of them. So it
# needs neither the checkpoint nor the hub, and predicts from plain sequences:

# %%
bundle = Bundle.load("runs/everything/bundle")
os.rename("tiny-esm", "moved-away")
sequences = [line.strip() for line in Path("proteins.fasta").read_text().splitlines() if not line.startswith(">")]
for prediction in bundle.predict([("first", sequences[0]), ("last", sequences[-1])]):
    print(prediction.id, prediction.top(2))

# %% [markdown]
# ## Was what is frozen left alone?
#
# To the bit: the frozen run's encoder must hold the weights of the checkpoint, and that of the run that trained
# everything must not.

# %%
checkpoint = create_model("esm2", num_targets=6, pretrained="moved-away").encoder.state_dict()
for name in ("frozen", "everything"):
    encoder = Bundle.load(f"runs/{name}/bundle").model.encoder.state_dict()
    same = all(torch.equal(weight, checkpoint[key]) for key, weight in encoder.items())
    print(f"{name}: the encoder is as it was: {same}")
