"""The bundle: a finished model as one folder, to be handed on.

    config.json         version, the assembly as plain data, window, exclusive groups, provenance, calibration, SHA-256
                        of the weights
    model.safetensors   the weights
    targets.tsv         name, group and number of positive training samples of each logit, in order
    training_summary.safetensors    what it was trained on, in small: for drift and for pictures; may be missing
    README.md           the model card, which follows from the others
    SHA256SUMS          the checksums of all of them, which loading verifies

It is laid out as the Hugging Face hub has it, and can be loaded from there (`seqclass.hub`). There is no pickle in it,
and loading reads nothing else: only blocks of this library, or registered ones, are built.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqclass.alphabets import Alphabet, get_alphabet
from seqclass.atomic import atomic_folder
from seqclass.blocks import merged
from seqclass.calibration import Calibration
from seqclass.card import model_card
from seqclass.errors import BundleError
from seqclass.hub import fetch, is_address
from seqclass.models import Classifier
from seqclass.saved import BUNDLE, MARKER, damaged, read_model, seal, weights_digest, write_model
from seqclass.targets import Target, check_targets
from seqclass.training_summary import TrainingSummary

if TYPE_CHECKING:
    from seqclass.predict import LengthPolicy, Prediction, Sequences

_CALIBRATION = 1
_TARGET_HEADER = "name\tgroup\ttrain_positives\n"


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
        calibration: How its probabilities are read, None for as they are.
        summary: What it was trained on, in small; None where that is not known.
    """

    model: Classifier
    targets: list[Target]
    train_positives: Sequence[int]
    window: int | None = None
    bin: int | None = None
    exclusive: Sequence[str] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None
    calibration: Calibration | None = None
    summary: TrainingSummary | None = None

    @property
    def version(self) -> str:
        """Twelve hexadecimal digits that stand for what it answers.

        They follow from the weights, the assembly, the targets, the windows and the calibration. Two bundles that
        differ in any of these differ in their version; what is only told about a model, such as its licence, has no
        part in it.
        """
        answers = [
            weights_digest(self.model),
            merged(self.model).config(),
            self.targets,
            [self.window, self.bin, list(self.exclusive)],
            None if self.calibration is None else asdict(self.calibration),
        ]
        return hashlib.sha256(json.dumps(answers, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def groups(self) -> dict[str, list[int]]:
        """The columns of each exclusive group."""
        return {
            group: [column for column, target in enumerate(self.targets) if target.group == group]
            for group in self.exclusive
        }

    @property
    def binary(self) -> list[int]:
        """The columns of the yes-or-no targets."""
        return [column for column, target in enumerate(self.targets) if target.group not in self.exclusive]

    @property
    def alphabet(self) -> Alphabet:
        return get_alphabet(self.model.alphabet)

    @property
    def length(self) -> int | None:
        """The one length that the model takes, in residues, or None for any."""
        return self.model.length

    def predict(
        self, sequences: Sequences, *, length_policy: LengthPolicy = "error", calibrated: bool = True
    ) -> Iterator[Prediction]:
        """Predictions of a FASTA file's sequences or of those given, in their order; see `seqclass.predict.predict`."""
        from seqclass.predict import predict

        return predict(self, sequences, length_policy=length_policy, calibrated=calibrated)

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Writes the folder whole or not at all. Low-rank adapters are written as part of the weights.

        Raises:
            OutputExistsError: Something stands at `path` and `force` is false.
            SeqclassError: What stands at `path` is no bundle, the disk is full, or the targets' names are not fit to be
                written (see `check_targets`).
            AssemblyError: A block of the model is not registered, or was built with arguments that JSON cannot hold.
            BundleError: The weights could not be written (a full disk, say).
        """
        check_targets(self.targets, file=path)
        with atomic_folder(path, force=force, holding=MARKER) as folder:
            rows = zip(self.targets, self.train_positives, strict=True)
            (folder / "targets.tsv").write_text(
                _TARGET_HEADER + "".join(f"{target.name}\t{target.group}\t{count}\n" for target, count in rows),
                encoding="utf-8",
            )
            details = {
                "window": self.window,
                "bin": self.bin,
                "exclusive": list(self.exclusive),
                "calibration": None
                if self.calibration is None
                else {"version": _CALIBRATION, **asdict(self.calibration)},
                "provenance": self.provenance,
            }
            config = write_model(folder, BUNDLE, self.model, details)
            if self.summary is not None:
                self.summary.save(folder)
            parameters = sum(weights.numel() for weights in self.model.parameters())
            told = self.alphabet.name, self.version, parameters, self.summary
            card = model_card(config, self.targets, self.train_positives, *told)
            (folder / "README.md").write_text(card, encoding="utf-8")
            seal(folder)

    @classmethod
    def load(cls, path: str | Path) -> Bundle:
        """The bundle in a folder, its model in evaluation mode on the CPU.

        Args:
            path: The folder; or "hf://user/name" or "hf://user/name@revision", one on the Hugging Face hub.

        Raises:
            BundleError: The folder is not a bundle, is damaged, or was written by a newer version; or it cannot be had
                from the hub.
            MissingPackageError: The model is a language model, and transformers is not installed; or it is on the hub,
                and huggingface_hub is not.
        """
        path = fetch(str(path)) if is_address(path) else Path(path)
        model, config = read_model(path, BUNDLE)
        if not isinstance(model, Classifier):
            raise damaged(path / MARKER, f"it describes a {type(model).__name__}, where a model is expected")
        for name in ("window", "bin"):
            if name not in config or not isinstance(config[name], int | None):
                raise damaged(path / MARKER, f"'{name}' is missing or of another kind than expected")
        targets, positives = _read_targets(path / "targets.tsv", model.num_targets)
        window, bin, exclusive = config["window"], config["bin"], config.get("exclusive", [])
        bundle = cls(model, targets, positives, window, bin, exclusive, config["provenance"], path)
        if config.get("calibration") is not None:
            bundle.calibration = _read_calibration(config["calibration"], bundle, path / MARKER)
        bundle.summary = TrainingSummary.load(path, _num_letters(bundle), len(targets))
        return bundle


def _num_letters(bundle: Bundle) -> int:
    return len(bundle.alphabet.letters) if bundle.model.input_kind == "tokens" else 0


def _read_calibration(given: Any, bundle: Bundle, file: Path) -> Calibration:
    version = given.get("version") if isinstance(given, dict) else None
    if not isinstance(version, int):
        raise damaged(file, "the calibration is not one")
    if version > _CALIBRATION:
        raise BundleError(
            f"the calibration has version {version}, newer than version {_CALIBRATION} of this library",
            remedy="Install a newer seqclass",
            file=file,
        )
    for name, least in (("slope", 0.0), ("intercept", -math.inf), ("threshold", -math.inf)):
        numbers = given.get(name)
        if not isinstance(numbers, list) or len(numbers) != len(bundle.binary) or not _are_above(numbers, least):
            raise damaged(file, f"the calibration's '{name}' is not a number for each of {len(bundle.binary)} targets")
    for name in ("temperature", "abstain_below"):
        numbers = given.get(name)
        whole = isinstance(numbers, dict) and set(numbers) == set(bundle.exclusive)
        if not whole or not _are_above(numbers.values(), 0.0 if name == "temperature" else -math.inf):
            raise damaged(file, f"the calibration's '{name}' is not a number for each exclusive group")
    return Calibration(**{field.name: given[field.name] for field in fields(Calibration)})


def _are_above(numbers: Iterable[Any], least: float) -> bool:
    return all(isinstance(number, int | float) and least < number < math.inf for number in numbers)


def _read_targets(file: Path, num_targets: int) -> tuple[list[Target], list[int]]:
    try:
        text = file.read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise damaged(file, f"the table of targets cannot be read ({error})") from error
    if not text.startswith(_TARGET_HEADER) or not text.endswith("\n"):
        raise damaged(file, "the table does not begin with its header, or is cut short")
    rows = [line.split("\t") for line in text.split("\n")[1:-1]]
    for number, row in enumerate(rows, start=2):
        if len(row) != 3 or not row[2].isdigit():
            raise damaged(file, "a target's name, group and number of positives are expected", number)
    if len(rows) != num_targets:
        raise damaged(file, f"it names {len(rows)} targets, and the model has {num_targets}")
    return [Target(name, group) for name, group, _ in rows], [int(count) for *_, count in rows]
