"""The bundle: what is saved is what is loaded, anywhere; what is damaged says so."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from seqclass.blocks import Block
from seqclass.bundle import Bundle
from seqclass.errors import AssemblyError, BundleError, OutputExistsError, SeqclassError
from seqclass.saved import VERSION
from seqclass.targets import Target


@pytest.fixture
def saved(make_bundle: Callable[..., Bundle], tmp_path: Path) -> Path:
    make_bundle().save(tmp_path / "bundle")
    return tmp_path / "bundle"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def edit_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    config = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))


def test_a_new_process_gives_identical_logits(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = make_bundle(num_targets=5)
    bundle.save(tmp_path / "bundle")
    tokens = np.random.default_rng(0).integers(0, 5, (9, 64)).astype(np.uint8)
    np.save(tmp_path / "tokens.npy", tokens)
    script = (
        "import sys, numpy as np, torch, seqclass\n"
        "torch.set_num_threads(int(sys.argv[1]))\n"
        "model = seqclass.load('bundle').model\n"
        "with torch.inference_mode():\n"
        "    np.save('logits.npy', model(torch.from_numpy(np.load('tokens.npy'))).numpy())\n"
    )
    subprocess.run([sys.executable, "-c", script, str(torch.get_num_threads())], cwd=tmp_path, check=True)
    with torch.inference_mode():
        expected = bundle.model(torch.from_numpy(tokens)).numpy()
    np.testing.assert_array_equal(np.load(tmp_path / "logits.npy"), expected)


def test_all_that_is_known_of_a_model_comes_back(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = make_bundle(num_targets=2, pool="centre-max")
    bundle.targets = [Target("K562|CTCF|None", "TF"), Target("β-catenin (a, b)")]
    bundle.train_positives = [17, 0]
    bundle.provenance = {"seed": 3, "data": {"sha256": "ab", "notes": ["a\nb"]}}
    bundle.save(tmp_path / "bundle")
    loaded = Bundle.load(tmp_path / "bundle")
    assert (loaded.targets, loaded.train_positives) == (bundle.targets, bundle.train_positives)
    assert (loaded.window, loaded.bin, loaded.length) == (64, 32, None)
    assert loaded.provenance == bundle.provenance
    assert loaded.alphabet is bundle.alphabet
    assert not loaded.model.training


def test_the_folder_holds_three_files_and_no_pickle(saved: Path) -> None:
    files = contents(saved)
    assert set(files) == {"config.json", "model.safetensors", "targets.tsv"}
    # A pickle of protocol 2 or later begins with 0x80, what torch.save writes is a zip archive.
    assert not [name for name, data in files.items() if data.startswith((b"\x80", b"PK"))]


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, Path.touch])
def test_what_is_no_bundle_is_said_to_be_none(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "here")
    with pytest.raises(BundleError, match=r"here: this is not a bundle .*Give the folder that training wrote"):
        Bundle.load(tmp_path / "here")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
def test_a_changed_byte_of_the_weights_is_noticed(saved: Path, share: float) -> None:
    weights = saved / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[int(share * len(data))] ^= 1
    weights.write_bytes(data)
    with pytest.raises(BundleError, match=r"model\.safetensors: .*checksum differs\. Copy the bundle again"):
        Bundle.load(saved)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.9])
def test_weights_cut_short_are_noticed(saved: Path, share: float) -> None:
    weights = saved / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[: int(share * len(data))])
    with pytest.raises(BundleError, match="Copy the bundle again"):
        Bundle.load(saved)


def test_weights_of_another_model_are_refused(saved: Path, make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    make_bundle(hidden=24).save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.safetensors", saved)
    edit_config(saved, weights_sha256=json.loads((tmp_path / "other" / "config.json").read_text())["weights_sha256"])
    with pytest.raises(BundleError, match=r"size mismatch.*Copy the bundle again"):
        Bundle.load(saved)


@pytest.mark.parametrize("file", ["model.safetensors", "targets.tsv"])
def test_a_missing_part_is_named(saved: Path, file: str) -> None:
    (saved / file).unlink()
    with pytest.raises(BundleError, match=rf"{file}.*Copy the bundle again"):
        Bundle.load(saved)


def test_no_cut_of_the_targets_goes_unnoticed(saved: Path) -> None:
    table = saved / "targets.tsv"
    whole = table.read_bytes()
    for size in range(len(whole)):
        table.write_bytes(whole[:size])
        with pytest.raises(BundleError, match=r"targets\.tsv.*Copy the bundle again"):
            Bundle.load(saved)


def test_a_target_too_many_or_out_of_form_is_refused_with_its_line(saved: Path) -> None:
    table = saved / "targets.tsv"
    whole = table.read_text()
    table.write_text(whole + "t3\t\t1\n")
    with pytest.raises(BundleError, match="names 4 targets, and the model has 3"):
        Bundle.load(saved)
    table.write_text(whole + "t3")
    with pytest.raises(BundleError, match="cut short"):
        Bundle.load(saved)
    table.write_text(whole.replace("t1\t\t1", "t1\t\tmany"))
    with pytest.raises(BundleError, match=r"targets\.tsv, line 3: "):
        Bundle.load(saved)


def test_a_newer_version_asks_for_a_newer_library(saved: Path) -> None:
    edit_config(saved, version=VERSION + 1, weights_sha256=...)
    with pytest.raises(BundleError, match=f"version {VERSION + 1}, newer than version {VERSION}.*Install a newer"):
        Bundle.load(saved)


@pytest.mark.parametrize("text", ["", "{", '{"format": "seqclass-bundle", "version"', "[1, 2]", '{"a": 1}', "\x00\xff"])
def test_a_configuration_that_is_none_is_refused_with_a_remedy(saved: Path, text: str) -> None:
    (saved / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError, match=r"config\.json: ") as caught:
        Bundle.load(saved)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "changes",
    [
        *({key: ...} for key in ("version", "model", "window", "bin", "weights_sha256", "provenance")),
        {"version": "one"},
        {"window": "wide"},
        {"model": []},
        {"model": {}},
        {"model": {"block": "SequenceClassifier"}},
        {"model": {"block": "SequenceClassifier", "arguments": []}},
        {"model": {"block": "SequenceClassifier", "arguments": {"nonsense": 1}}},
        {"model": {"block": "LearnedEmbedding", "arguments": {"out_channels": -4}}},
        {"model": {"block": "LearnedEmbedding", "arguments": {"out_channels": 4, "alphabet": "dna"}}},
    ],
    ids=str,
)
def test_a_configuration_with_a_wrong_part_is_refused(saved: Path, changes: dict[str, object]) -> None:
    edit_config(saved, **changes)
    with pytest.raises(BundleError, match=r"config\.json.*Copy the bundle again"):
        Bundle.load(saved)


def test_a_block_that_is_not_registered_is_named(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    config["model"]["arguments"]["stem"]["block"] = "os.system"
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(BundleError, match=r"no block 'os\.system'.*register_block"):
        Bundle.load(saved)


def test_an_existing_bundle_is_replaced_only_by_force(saved: Path, make_bundle: Callable[..., Bundle]) -> None:
    before = contents(saved)
    other = make_bundle(num_targets=4)
    with pytest.raises(OutputExistsError, match="--force"):
        other.save(saved)
    assert contents(saved) == before
    other.save(saved, force=True)
    assert len(Bundle.load(saved).targets) == 4


def test_a_folder_that_is_no_bundle_is_not_replaced(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(SeqclassError, match="holds other things"):
        make_bundle().save(tmp_path, force=True)
    assert contents(tmp_path) == {"thesis.txt": b"mine"}


def test_a_bundle_knows_where_it_was_loaded_from(saved: Path, make_bundle: Callable[..., Bundle]) -> None:
    assert make_bundle().path is None
    assert Bundle.load(str(saved)).path == saved


@pytest.mark.parametrize("name", ["Reb1\told", "Reb1\n", "a\x00", ""])
def test_a_target_that_could_not_be_read_again_is_not_saved(
    make_bundle: Callable[..., Bundle], tmp_path: Path, name: str
) -> None:
    for targets in ([Target(name)], [Target("a", f"group\t{name}")], [Target("a"), Target("a")]):
        bundle = make_bundle(num_targets=len(targets))
        bundle.targets = targets
        with pytest.raises(SeqclassError, match=r"bundle: .*target"):
            bundle.save(tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


def test_the_old_bundle_stands_when_saving_fails_half_way(saved: Path, make_bundle: Callable[..., Bundle]) -> None:
    class Unregistered(Block):
        pass

    before = contents(saved)
    bundle = make_bundle()
    # The weights are written before the configuration finds the block that it cannot name.
    bundle.model.stem = Unregistered()
    with pytest.raises(AssemblyError, match="Unregistered is not registered"):
        bundle.save(saved, force=True)
    assert contents(saved.parent) == {f"bundle/{name}": data for name, data in before.items()}


def test_a_full_disk_leaves_the_old_bundle(saved: Path) -> None:
    before = contents(saved.parent)
    script = (
        "import seqclass\n"
        "from seqclass.errors import BundleError\n"
        "bundle = seqclass.load('bundle')\n"
        "try:\n"
        "    bundle.save('bundle', force=True)\n"
        "except BundleError as error:\n"
        "    print(error)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=saved.parent,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert "the weights could not be written" in ended.stdout, ended.stderr
    assert contents(saved.parent) == before
