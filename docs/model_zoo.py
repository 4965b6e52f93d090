"""Writes the tables of `model_zoo.md` from the registry of models and from the measured scores.

python docs/model_zoo.py
"""

import re
from inspect import getdoc, signature
from pathlib import Path

import torch

from seqclass.models import create_model, get_model, list_models

HERE = Path(__file__).parent
PAGE = HERE / "model_zoo.md"
SCORES = HERE.parent / "experiments" / "README.md"
HEAD = """\
# Model zoo

The models that `seqclass fit --model NAME` trains. `python docs/model_zoo.py` writes this page from the registry and
from [experiments/README.md](../experiments/README.md).

Parameters are those with default options at ten targets, and 1,000 bp where a model has one length. Weights are random
until they are trained, or until a checkpoint is given ([backbones.md](backbones.md)).

| name | reads | parameters | takes | what it is |
|---|---|---|---|---|
"""
MEASURED = """
## Measured

Experiments with a score on real data, and where it stands with its baselines, intervals, hardware and command.

| experiment | question |
|---|---|
"""


def model_row(name: str) -> str:
    """A line of the table of models."""
    arguments = signature(get_model(name)).parameters
    sizes = {"length": 1000} if "length" in arguments else {}
    sizes |= {"vector_size": 1024} if "vector_size" in arguments else {}
    with torch.device("meta"):
        model = create_model(name, num_targets=10, **sizes)
    count = sum(weight.numel() for weight in model.parameters())
    reads = model.alphabet if model.input_kind == "tokens" else "vectors"
    takes = "any length" if model.longest is None else f"{model.longest:,} residues"
    takes = "one length" if model.length is not None else takes
    what = (getdoc(get_model(name)) or "").split("\n")[0].replace("|", "\\|")
    return f"| `{name}` | {reads} | {count:,} | {takes} | {what} |\n"


def measured_rows() -> str:
    """A line for each experiment that has a table of scores."""
    sections = re.findall(r"^## `(\w+)`: (.+)\n((?:(?!## ).*\n?)*)", SCORES.read_text(encoding="utf-8"), re.MULTILINE)
    return "".join(
        f"| [`{name}`](../experiments/{name}.py) | {asked} |\n" for name, asked, text in sections if "\n|" in text
    )


def page() -> str:
    """The text of the page."""
    models = "".join(model_row(name) for name in list_models())
    return f"{HEAD}{models}{MEASURED}{measured_rows()}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
