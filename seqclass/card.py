"""The model card: what the README.md of a bundle says of it, as far as the bundle knows.

Its front matter is that of the Hugging Face hub (https://huggingface.co/docs/hub/model-cards), its chapters those of
Mitchell et al. 2019, "Model cards for model reporting" (arXiv:1810.03993). What is not known is said to be not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import yaml

from seqclass.alphabets import get_alphabet
from seqclass.targets import Target
from seqclass.training_summary import TrainingSummary

_MOST_TARGETS = 30

# From fewer examples, hardly anything is learnt of a target.
_FEW_POSITIVES = 10

_TRAINING = {
    "experiment": "model",
    "epochs": "epochs at most",
    "kept_epoch": "epoch kept",
    "steps": "steps",
    "batch_size": "batch size",
    "precision": "precision",
    "seed": "seed",
    "training_seconds": "seconds",
    "command": "command",
}


def model_card(
    config: Mapping[str, Any],
    targets: Sequence[Target],
    train_positives: Sequence[int],
    alphabet: str,
    version: str,
    parameters: int,
    summary: TrainingSummary | None,
) -> str:
    """The card as Markdown.

    Args:
        config: What `config.json` says. Of "provenance", "report" holds the figures (`seqclass.evaluation.headline`),
            and "about" what people say of the model: "licence", "intended_use" and "limits".
        targets: What the logits stand for.
        train_positives: Training samples that carry each target.
        alphabet: Its name.
        version: Of the bundle.
        parameters: Their number.
        summary: What it was trained on, in small; None where that is not known.
    """
    provenance = config["provenance"]
    about, report = provenance.get("about", {}), provenance.get("report")
    name = str(provenance.get("experiment", "classifier"))
    chapters = {
        "Use": _use(config),
        "What it answers": _answers(config, targets, train_positives),
        "Figures": _figures(report),
        "Data": _data(provenance, summary, alphabet),
        "Training": _training(provenance),
        "Intended use": [about.get("intended_use", "Not stated by whoever made this model.")],
        "Limits": _limits(config, targets, train_positives, summary, report),
        "Licence": [about.get("licence", "Not stated: ask whoever made this model before you use it.")],
    }
    sequences = {"dna": "DNA", "protein": "protein"}.get(alphabet, alphabet)
    opening = (
        f"A classifier of {sequences} sequences: `{config['model']['block']}` of {parameters:,} parameters, version "
        f"`{version}`, written by seqclass {config['seqclass']}."
    )
    text = [f"# {name}", opening]
    for heading, paragraphs in chapters.items():
        text += [f"## {heading}", *paragraphs]
    matter = yaml.safe_dump(_front_matter(name, alphabet, about, report), sort_keys=False, allow_unicode=True)
    return f"---\n{matter}---\n\n" + "\n\n".join(text) + "\n"


def _front_matter(
    name: str, alphabet: str, about: Mapping[str, str], report: Mapping[str, Any] | None
) -> dict[str, Any]:
    field = {"dna": "genomics", "protein": "proteomics"}.get(alphabet, alphabet)
    matter: dict[str, Any] = {
        "library_name": "seqclass",
        "tags": ["seqclass", "biology", field, alphabet, "sequence-classification"],
    }
    if "licence" in about:
        matter["license"] = about["licence"]
    if report is not None and report["figures"]:
        metrics = [{"type": each["type"], "value": each["value"], "name": each["name"]} for each in report["figures"]]
        data = {"name": report["store"], "type": report["store"], "split": report["split"]}
        task = {"type": "sequence-classification", "name": "Sequence classification"}
        matter["metrics"] = sorted({each["type"] for each in report["figures"]})
        matter["model-index"] = [{"name": name, "results": [{"task": task, "dataset": data, "metrics": metrics}]}]
    return matter


def _use(config: Mapping[str, Any]) -> list[str]:
    length = config["model"]["arguments"].get("length")
    takes = "Sequences of any length are taken" if length is None else f"Sequences of {length:,} residues are taken"
    return [
        "```\nseqclass predict FOLDER sequences.fasta --out scores.tsv\n```",
        "where FOLDER is this folder, or `hf://user/name` for one on the hub; in Python, `seqclass.load(FOLDER)`. "
        f"{takes}" + ("." if length is None else "; `--length-policy` says what becomes of others."),
    ]


def _answers(config: Mapping[str, Any], targets: Sequence[Target], positives: Sequence[int]) -> list[str]:
    exclusive = config.get("exclusive", [])
    binary = sum(target.group not in exclusive for target in targets)
    kinds = [f"{binary:,} yes-or-no targets"] if binary else []
    for group in exclusive:
        kinds.append(f"{sum(target.group == group for target in targets):,} classes of {group}, of which one is true")
    named = any(target.group for target in targets)
    rows = [
        [target.name, *([target.group] if named else []), f"{count:,}"]
        for target, count in zip(targets[:_MOST_TARGETS], positives, strict=False)
    ]
    pieces = ["; ".join(kinds) + ".", _table(["target", *(["group"] if named else []), "training samples"], rows)]
    if len(targets) > _MOST_TARGETS:
        pieces.append(f"The other {len(targets) - _MOST_TARGETS:,} are in `targets.tsv`.")
    return pieces


def _figures(report: Mapping[str, Any] | None) -> list[str]:
    if report is None:
        return [
            "Not known: this model was not judged on held-out data, or that was not put here. `seqclass evaluate` "
            "judges it, and `seqclass models card BUNDLE --report FOLDER` puts the figures here."
        ]
    names = list(dict.fromkeys(name for each in report["figures"] for name in each["baselines"]))
    rows = [
        [
            each["name"],
            f"**{_figure(each['value'], each['interval'])}**",
            *(_figure(each["baselines"].get(name)) for name in names),
        ]
        for each in report["figures"]
    ]
    pieces = [
        f"On the split '{report['split']}' of {report['store']}, {report['samples']:,} samples:",
        _table(["", "this model", *(name.replace("_", " ") for name in names)], rows),
    ]
    if report["verdicts"]:
        pieces.append("\n".join(f"- {_escaped(verdict)}" for verdict in report["verdicts"]))
    return [*pieces, report["intervals"][0].upper() + report["intervals"][1:] + "."]


def _data(provenance: Mapping[str, Any], summary: TrainingSummary | None, alphabet: str) -> list[str]:
    members = provenance.get("members", [provenance])
    data = members[0].get("data") if members else None
    if not data:
        return ["Not known: the bundle does not say what it was trained on."]
    lines = [f"- {key}: {_told(data[key])}" for key in ("source", "sha256") if key in data]
    lines += [f"- {_escaped(note)}" for note in data.get("notes", [])]
    if summary is not None and len(summary.lengths):
        low, middle, high = np.quantile(summary.lengths, (0.05, 0.5, 0.95))
        spread = "" if low == high else f", nine in ten from {low:,.0f} to {high:,.0f}"
        lines.append(f"- median length of training samples: {middle:,.0f} {get_alphabet(alphabet).unit}{spread}")
    if alphabet == "dna" and summary is not None and summary.letters.shape[1] == 4:
        lines.append(f"- GC content of training samples: {100 * summary.letters[:, 1:3].sum(axis=1).mean():.1f} %")
    return ["\n".join(lines), "The licence of the data is that of their source, which is not known here."]


def _training(provenance: Mapping[str, Any]) -> list[str]:
    if "members" in provenance:
        members, vote = provenance["members"], _told(provenance["ensemble"])
        opening = f"An ensemble of {len(members)} models (vote: {vote}), of which the first was trained so:"
        return [opening, *_training(members[0])]
    lines = [f"- {title}: {_told(provenance[key])}" for key, title in _TRAINING.items() if key in provenance]
    recipe = {key: value for key, value in provenance.get("recipe", {}).items() if value is not None}
    lines += [f"- {key.replace('_', ' ')}: {_told(value)}" for key, value in recipe.items()]
    lines += [f"- {key}: {_told(value)}" for key, value in provenance.get("versions", {}).items()]
    return ["\n".join(lines) if lines else "Not known: the bundle does not say how it was trained."]


def _limits(
    config: Mapping[str, Any],
    targets: Sequence[Target],
    positives: Sequence[int],
    summary: TrainingSummary | None,
    report: Mapping[str, Any] | None,
) -> list[str]:
    few = [target.name for target, count in zip(targets, positives, strict=True) if count < _FEW_POSITIVES]
    lines = []
    if "limits" in config["provenance"].get("about", {}):
        lines.append(config["provenance"]["about"]["limits"])
    if config["calibration"] is None:
        lines.append("Its probabilities are not calibrated: read them as scores, not as chances.")
    if few:
        shown = ", ".join(few[:8]) + (", ..." if len(few) > 8 else "")
        lines.append(f"{len(few):,} targets had fewer than {_FEW_POSITIVES} training samples: {_escaped(shown)}.")
    if config.get("exclusive"):
        lines.append("A sequence of a class that training never had is still given one, unless the model abstains.")
    if report is None:
        lines.append("How good it is, is not known.")
    lines.append(
        "`seqclass drift` says how far new sequences are from what it was trained on."
        if summary is not None
        else "What it was trained on is not summarised here, so drift cannot be measured."
    )
    return ["\n".join(f"- {line}" for line in lines)]


def _figure(value: float | None, interval: Sequence[float] | None = None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" + ("" if interval is None else f" ({interval[0]:.3f} to {interval[1]:.3f})")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_escaped(cell) for cell in line)} |" for line in lines)


def _told(value: object) -> str:
    return f"`{' '.join(str(value).split())}`"


def _escaped(text: str) -> str:
    """As Markdown shows it in a cell or a line: names may hold bars and angle brackets."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())
