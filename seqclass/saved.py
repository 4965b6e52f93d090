"""Models as folders: how one is built, as plain data, beside its weights, with the checksums of both.

    config.json         format, version, the assembly as plain data, SHA-256 of the weights, provenance
    model.safetensors   the weights
    SHA256SUMS          the checksum of every other file, as sha256sum writes and checks them

There is no pickle in it, and loading reads nothing else: only blocks of this library, or registered ones, are built.
Folders of version 1 have no SHA256SUMS; of those the weights alone are checked.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from seqclass import __version__
from seqclass.atomic import atomic_folder
from seqclass.blocks import Block, build, merged
from seqclass.errors import AssemblyError, BundleError, MissingPackageError, SeqclassError, UnknownNameError
from seqclass.models import MaskedResidueLM, TransformerXLLM

BUNDLE, LANGUAGE_MODEL = "seqclass-bundle", "seqclass-language-model"
VERSION = 2

MARKER = "config.json"
"""The file by which such a folder is known."""

CHECKSUMS = "SHA256SUMS"

_WEIGHTS = "model.safetensors"

PARTS = (MARKER, _WEIGHTS, "targets.tsv", "training_summary.safetensors", "README.md")
"""The files that such a folder can have, beside their checksums."""

_CHECKSUM = re.compile(r"([0-9a-f]{64})  ([\w-][\w.-]*)")
_digests: WeakKeyDictionary[nn.Module, tuple[list[tuple[int, int]], str]] = WeakKeyDictionary()
_FIELDS: dict[str, type] = {"version": int, "model": dict, "weights_sha256": str, "provenance": dict}


def write_model(folder: Path, format: str, model: Block, details: Mapping[str, Any]) -> dict[str, Any]:
    """Writes a model into an open folder, which `seal` completes. Low-rank adapters become part of the weights.

    Args:
        folder: Exists; see `atomic_folder`.
        format: `BUNDLE` or `LANGUAGE_MODEL`.
        model: Of registered blocks.
        details: What else `config.json` says; "provenance" at least.

    Returns:
        What `config.json` says.

    Raises:
        AssemblyError: A block of the model is not registered, or was built with arguments that JSON cannot hold.
        BundleError: The weights could not be written (a full disk, say).
    """
    model = merged(model)
    weights = folder / _WEIGHTS
    write_tensors(weights, model.state_dict())
    config = {
        "format": format,
        "version": VERSION,
        "seqclass": __version__,
        "model": model.config(),
        "weights_sha256": _sha256(weights),
        **details,
    }
    (folder / MARKER).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return config


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes a safetensors file.

    Raises:
        BundleError: It could not be written (a full disk, say).
    """
    try:
        save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, file)
    except SafetensorError as error:
        what = "the weights" if file.name == _WEIGHTS else file.name
        raise BundleError(
            f"{what} could not be written ({error})",
            remedy="Make room on the disk; what stood here before is untouched",
            file=file.parent,
        ) from error


def seal(folder: Path) -> None:
    """Writes the checksums of all parts of an open folder, when these are complete."""
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in PARTS if (folder / name).exists()]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def weights_digest(model: nn.Module) -> str:
    """SHA-256 of a model's weights: their names, kinds, shapes and numbers, wherever they are kept.

    It is computed anew only when a weight was changed or moved.
    """
    # PyTorch counts the changes in place of each tensor, except of those made for inference alone.
    state = [(each.data_ptr(), -1 if each.is_inference() else each._version) for each in model.state_dict().values()]
    known = _digests.get(model)
    if known is None or known[0] != state:
        digest = hashlib.sha256()
        for name, value in sorted(merged(model).state_dict().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        known = _digests[model] = state, digest.hexdigest()
    return known[1]


def read_model(path: str | Path, *formats: str) -> tuple[Block, dict[str, Any]]:
    """The model in a folder, in evaluation mode on the CPU, and what `config.json` says.

    Args:
        path: The folder.
        formats: Those expected; the first names what is missing if there is nothing.

    Raises:
        BundleError: The folder holds no such model, is damaged, or was written by a newer version.
        MissingPackageError: The model needs a package that is not installed.
    """
    path = Path(path)
    config = read_config(path, *formats)
    model = _build(config["model"], path / MARKER)
    weights = path / _WEIGHTS
    try:
        model.load_state_dict(load_file(weights))
    except AssemblyError as error:
        raise damaged(weights, error.problem) from error
    except (OSError, SafetensorError, RuntimeError) as error:
        raise damaged(path, f"the bundle cannot be read ({error})") from error
    return model.eval(), config


def save_language_model(
    model: TransformerXLLM | MaskedResidueLM, path: str | Path, provenance: Mapping[str, Any], *, force: bool = False
) -> None:
    """Writes the folder of a language model whole or not at all.

    Args:
        model: It stays as it is.
        path: The folder.
        provenance: How it came to be: data, recipe, seed, versions; anything JSON can hold.
        force: Replace the model that stands at `path`.

    Raises:
        OutputExistsError: Something stands at `path` and `force` is false.
        SeqclassError: What stands at `path` is no such folder, or the disk is full.
        AssemblyError: A block of the model is not registered.
        BundleError: The weights could not be written.
    """
    with atomic_folder(path, force=force, holding=MARKER) as folder:
        write_model(folder, LANGUAGE_MODEL, model, {"provenance": dict(provenance)})
        seal(folder)


def load_trained(path: str | Path) -> Block:
    """The model in the folder of a language model or of a bundle, to start another from.

    Raises:
        BundleError: The folder holds neither, is damaged, or was written by a newer version.
        MissingPackageError: The model needs a package that is not installed.
    """
    return read_model(path, LANGUAGE_MODEL, BUNDLE)[0]


def damaged(file: Path, problem: str, line: int | None = None) -> BundleError:
    """What to raise about a folder that is not as it was written."""
    return BundleError(problem, remedy="Copy the bundle again, or train the model again", file=file, record=line)


def _changed(file: Path) -> BundleError:
    if file.name == _WEIGHTS:
        return damaged(file, "the weights are not those that were saved: their checksum differs")
    return damaged(file, "this is not what was saved: its checksum differs")


def _check_files(path: Path) -> None:
    """Refuses a folder of which any file is not as it was when the checksums were written."""
    file = path / CHECKSUMS
    try:
        lines = file.read_bytes().decode("utf-8", "replace").split("\n")
    except OSError as error:
        raise damaged(file, f"the checksums cannot be read ({error})") from error
    found = [_CHECKSUM.fullmatch(line) for line in lines[:-1]]
    listed = {match[2]: match[1] for match in found if match}
    if lines[-1] or len(listed) != len(lines) - 1:
        raise damaged(file, "a line is no checksum and name of a file, or the last is cut short")
    for name in PARTS:
        if name not in listed and (path / name).exists():
            raise damaged(file, f"it has no checksum of {name}")
    for name, checksum in listed.items():
        try:
            actual = _sha256(path / name)
        except OSError as error:
            raise damaged(path / name, f"this is listed in {CHECKSUMS} and cannot be read ({error.strerror})") from None
        if actual != checksum:
            raise _changed(path / name)


def read_config(path: Path, *formats: str) -> dict[str, Any]:
    """What `config.json` says of a folder whose files are all as they were written; arguments as for `read_model`.

    Raises:
        BundleError: As for `read_model`.
    """
    checked = (path / CHECKSUMS).exists() and (path / MARKER).exists()
    if checked:
        _check_files(path)
    config = _parse_config(path, formats)
    if checked:
        return config
    if config["version"] > 1:
        raise damaged(path / CHECKSUMS, "the file of checksums is missing")
    try:
        if _sha256(path / _WEIGHTS) != config["weights_sha256"]:
            raise _changed(path / _WEIGHTS)
    except OSError as error:
        raise damaged(path / _WEIGHTS, f"the weights cannot be read ({error.strerror})") from error
    return config


def _parse_config(path: Path, formats: tuple[str, ...]) -> dict[str, Any]:
    file = path / MARKER
    wanted = " or ".join({BUNDLE: "a bundle", LANGUAGE_MODEL: "a language model"}[format] for format in formats)
    remedy = "Give the folder that training wrote, such as runs/NAME/bundle"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(
            f"this is not {wanted} (a folder with config.json and model.safetensors)", remedy=remedy, file=path
        ) from None
    except ValueError as error:
        raise damaged(file, f"this is not JSON ({error})") from None
    if not isinstance(config, dict) or config.get("format") not in formats:
        raise BundleError(f"this is not the configuration of {wanted}", remedy=remedy, file=file)
    version = config.get("version")
    if isinstance(version, int) and version > VERSION:
        raise BundleError(
            f"it has format version {version}, newer than version {VERSION} that is understood here",
            remedy="Install a newer seqclass",
            file=path,
        )
    for name, kind in _FIELDS.items():
        if not isinstance(config.get(name), kind):
            raise damaged(file, f"'{name}' is missing or of another kind than expected")
    return config


def _build(assembly: dict[str, Any], file: Path) -> Block:
    try:
        # What there was to warn of, whoever assembled it was told.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            model = build(assembly)
    except MissingPackageError:
        raise
    except UnknownNameError as error:
        raise BundleError(
            f"the model cannot be built: {error.problem}",
            remedy="Import the module that registers this block before loading (seqclass.blocks.register_block), or "
            "install the seqclass that wrote the bundle",
            file=file,
        ) from error
    except (SeqclassError, LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise damaged(file, f"the model cannot be built from it ({error})") from error
    if not isinstance(model, Block):
        raise damaged(file, f"it describes a {type(model).__name__}, where a model is expected")
    return model


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
