"""The bundle: a finished model as one folder, to be handed on.

    config.json         version, the assembly as plain data, window, exclusive groups, provenance, SHA-256 of weights
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
from seqclass.errors import AssemblyError, BundleError, SeqclassError, UnknownNameError
from seqclass.models import Classifier
from seqclass.targets import Target, check_targets

FORMAT, VERSION = "seqclass-bundle", 1

_TARGET_HEADER = "name\tgroup\ttrain_positives\n"
_CONFIG_FIELDS: dict[str, Any] = {
    "version": int,
    "model": dict,
    "window": int | None,
    "bin": int | None,
    "weights_sha256": str,
    "provenance": dict,
}


@dataclass
class Bundle:
    """A model with all that is needed to use it.

    Args:
        model: From tokens `(batch, length)` to raw logits `(batch, targets)`; its `alphabet` says which tokens.
        targets: What the logits stand for.
        train_positives: Training samples that carry each target.
        window: Residues of a training sample, None where they differed.
        exclusive: Names of the groups of targets of which exactly one is true.
        bin: Residues in the middle of the window that the labels describe, None where they describe all of it.
        provenance: How it came to be: data, recipe, seed, versions; anything JSON can hold.
        path: The folder that it was loaded from, None for a model made here.
    """

    model: Classifier
    targets: list[Target]
    train_positives: Sequence[int]
    window: int | None = None
    bin: int | None = None
    exclusive: Sequence[str] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None

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
            SeqclassError: What stands at `path` is no bundle, the disk is full, or the targets' names are not fit to be
                written (see `check_targets`).
            AssemblyError: A block of the model is not registered, or was built with arguments that JSON cannot hold.
            BundleError: The weights could not be written (a full disk, say).
        """
        check_targets(self.targets, file=path)
        with atomic_folder(path, force=force, holding="config.json") as folder:
            weights = folder / "model.safetensors"
            try:
                save_file({key: value.contiguous().cpu() for key, value in self.model.state_dict().items()}, weights)
            except SafetensorError as error:
                raise BundleError(
                    f"the weights could not be written ({error})",
                    remedy="Make room on the disk; what stood here before is untouched",
                    file=path,
                ) from error
            rows = zip(self.targets, self.train_positives, strict=True)
            (folder / "targets.tsv").write_text(
                _TARGET_HEADER + "".join(f"{target.name}\t{target.group}\t{count}\n" for target, count in rows),
                encoding="utf-8",
            )
            config = {
                "format": FORMAT,
                "version": VERSION,
                "seqclass": __version__,
                "model": self.model.config(),
                "window": self.window,
                "bin": self.bin,
                "exclusive": list(self.exclusive),
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
        model = _build(config["model"], path / "config.json")
        weights = path / "model.safetensors"
        try:
            if _sha256(weights) != config["weights_sha256"]:
                raise _damaged(weights, "the weights are not those that were saved: their checksum differs")
            model.load_state_dict(load_file(weights))
            targets, positives = _read_targets(path / "targets.tsv", model.num_targets)
        except AssemblyError as error:
            raise _damaged(weights, error.problem) from error
        except (OSError, SafetensorError, RuntimeError) as error:
            raise _damaged(path, f"the bundle cannot be read ({error})") from error
        model.eval()
        window, bin, exclusive = config["window"], config["bin"], config.get("exclusive", [])
        return cls(model, targets, positives, window, bin, exclusive, config["provenance"], path)


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
        raise _damaged(file, f"this is not JSON ({error})") from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise BundleError(
            "this is not the configuration of a seqclass bundle",
            remedy="Give the folder that training wrote, such as runs/NAME/bundle",
            file=file,
        )
    version = config.get("version")
    if isinstance(version, int) and version > VERSION:
        raise BundleError(
            f"the bundle has format version {version}, newer than version {VERSION} that is understood here",
            remedy="Install a newer seqclass",
            file=path,
        )
    for field_name, kind in _CONFIG_FIELDS.items():
        if field_name not in config or not isinstance(config[field_name], kind):
            raise _damaged(file, f"'{field_name}' is missing or of another kind than expected")
    return config


def _build(assembly: dict[str, Any], file: Path) -> Classifier:
    try:
        model = build(assembly)
    except UnknownNameError as error:
        raise BundleError(
            f"the model cannot be built: {error.problem}",
            remedy="Import the module that registers this block before loading (seqclass.blocks.register_block), or "
            "install the seqclass that wrote the bundle",
            file=file,
        ) from error
    except (SeqclassError, LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise _damaged(file, f"the model cannot be built from it ({error})") from error
    if not isinstance(model, Classifier):
        raise _damaged(file, f"it describes a {type(model).__name__}, where a model is expected")
    return model


def _read_targets(file: Path, num_targets: int) -> tuple[list[Target], list[int]]:
    text = file.read_bytes().decode("utf-8", "replace")
    if not text.startswith(_TARGET_HEADER) or not text.endswith("\n"):
        raise _damaged(file, "the table does not begin with its header, or is cut short")
    rows = [line.split("\t") for line in text.split("\n")[1:-1]]
    for number, row in enumerate(rows, start=2):
        if len(row) != 3 or not row[2].isdigit():
            raise _damaged(file, "a target's name, group and number of positives are expected", number)
    if len(rows) != num_targets:
        raise _damaged(file, f"it names {len(rows)} targets, and the model has {num_targets}")
    return [Target(name, group) for name, group, _ in rows], [int(count) for *_, count in rows]


def _damaged(file: Path, problem: str, line: int | None = None) -> BundleError:
    return BundleError(problem, remedy="Copy the bundle again, or train the model again", file=file, record=line)


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
