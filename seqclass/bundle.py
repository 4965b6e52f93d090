"""The bundle: a finished model as one folder, to be handed on.

    config.json         version, the assembly as plain data, window, provenance, SHA-256 of the weights
    model.safetensors   the weights
    targets.tsv         name, group and number of positive training samples of each logit, in order

There is no pickle in it, and loading reads nothing else: only blocks of this library, or registered ones, are built.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from seqclass import __version__
from seqclass.alphabets import Alphabet, get_alphabet
from seqclass.atomic import atomic_folder
from seqclass.blocks import build
from seqclass.errors import AssemblyError, BundleError
from seqclass.models import Classifier
from seqclass.targets import Target

FORMAT, VERSION = "seqclass-bundle", 1


@dataclass
class Bundle:
    """A model with all that is needed to use it.

    Args:
        model: From tokens `(batch, length)` to raw logits `(batch, targets)`; its `alphabet` says which tokens.
        targets: What the logits stand for.
        train_positives: Training samples that carry each target.
        window: Residues of a training sample, None where they differed.
        bin: Residues in the middle of the window that the labels describe, None where they describe all of it.
        provenance: How it came to be: data, recipe, seed, versions; anything JSON can hold.
    """

    model: Classifier
    targets: list[Target]
    train_positives: Sequence[int]
    window: int | None = None
    bin: int | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def alphabet(self) -> Alphabet:
        return get_alphabet(self.model.alphabet)

    @property
    def length(self) -> int | None:
        """The one length that the model takes, in residues, or None for any."""
        return self.model.length

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Writes the folder whole or not at all.

        Raises:
            OutputExistsError: Something stands at `path` and `force` is false.
        """
        with atomic_folder(path, force=force) as folder:
            weights = folder / "model.safetensors"
            save_file({key: value.contiguous().cpu() for key, value in self.model.state_dict().items()}, weights)
            rows = zip(self.targets, self.train_positives, strict=True)
            (folder / "targets.tsv").write_text(
                "name\tgroup\ttrain_positives\n"
                + "".join(f"{target.name}\t{target.group}\t{count}\n" for target, count in rows),
                encoding="utf-8",
            )
            config = {
                "format": FORMAT,
                "version": VERSION,
                "seqclass": __version__,
                "model": self.model.config(),
                "window": self.window,
                "bin": self.bin,
                "weights_sha256": _sha256(weights),
                "provenance": self.provenance,
            }
            (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Bundle:
        """The bundle in a folder, its model in evaluation mode on the CPU.

        Raises:
            BundleError: The folder is not a bundle, is damaged, or was written by a newer version.
        """
        path = Path(path)
        config = _read_config(path)
        weights = path / "model.safetensors"
        try:
            if _sha256(weights) != config["weights_sha256"]:
                raise BundleError("the weights are not those that were saved (checksum differs)", file=weights)
            model: Classifier = build(config["model"])
            model.load_state_dict(load_file(weights))
            lines = (path / "targets.tsv").read_text(encoding="utf-8").splitlines()[1:]
            rows = [line.split("\t") for line in lines]
            targets = [Target(name, group) for name, group, _ in rows]
            positives = [int(count) for *_, count in rows]
        except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, AssemblyError) as error:
            raise BundleError(f"the bundle is damaged ({error})", remedy="Copy or train it again", file=path) from error
        model.eval()
        return cls(model, targets, positives, config["window"], config["bin"], config["provenance"])


def _read_config(path: Path) -> dict[str, Any]:
    file = path / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(
            "this is not a bundle (a folder with config.json, model.safetensors and targets.tsv)",
            remedy="Give the folder that training wrote, such as runs/NAME/bundle",
            file=path,
        ) from None
    except ValueError as error:
        raise BundleError(f"this is not JSON ({error})", file=file) from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise BundleError("this is not the configuration of a seqclass bundle", file=file)
    if config["version"] > VERSION:
        raise BundleError(
            f"the bundle has format version {config['version']}, newer than version {VERSION} that is understood here",
            remedy="Install a newer seqclass",
            file=path,
        )
    return config


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
