"""The bundle: what is saved is what is loaded, anywhere; what is damaged says so."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard, ModelCardData
from sklearn.metrics import roc_auc_score

from seqclass.blocks import Block
from seqclass.bundle import Bundle
from seqclass.calibration import Calibration
from seqclass.cli import main
from seqclass.errors import AssemblyError, BundleError, OutputExistsError, SeqclassError
from seqclass.evaluation.headline import with_report
from seqclass.evaluation.multilabel import Baseline
from seqclass.evaluation.report import write_report
from seqclass.saved import VERSION, seal
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
    reseal(folder)


def reseal(folder: Path) -> None:
    """Brings the checksums up to date, as whoever changes a bundle on purpose would."""
    seal(folder)


def as_version_1(folder: Path) -> None:
    """The folder as it was before there were checksums and a card."""
    edit_config(folder, version=1)
    for name in ("SHA256SUMS", "README.md", "training_summary.safetensors"):
        (folder / name).unlink(missing_ok=True)


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


def test_the_folder_holds_no_pickle(saved: Path) -> None:
    files = contents(saved)
    assert set(files) == {"config.json", "model.safetensors", "targets.tsv", "README.md", "SHA256SUMS"}
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
    reseal(saved)
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
        reseal(saved)
        with pytest.raises(BundleError, match=r"targets\.tsv.*Copy the bundle again"):
            Bundle.load(saved)


def test_a_target_too_many_or_out_of_form_is_refused_with_its_line(saved: Path) -> None:
    table = saved / "targets.tsv"
    whole = table.read_text()
    table.write_text(whole + "t3\t\t1\n")
    reseal(saved)
    with pytest.raises(BundleError, match="names 4 targets, and the model has 3"):
        Bundle.load(saved)
    table.write_text(whole + "t3")
    reseal(saved)
    with pytest.raises(BundleError, match="cut short"):
        Bundle.load(saved)
    table.write_text(whole.replace("t1\t\t1", "t1\t\tmany"))
    reseal(saved)
    with pytest.raises(BundleError, match=r"targets\.tsv, line 3: "):
        Bundle.load(saved)


def test_a_newer_version_asks_for_a_newer_library(saved: Path) -> None:
    edit_config(saved, version=VERSION + 1, weights_sha256=...)
    with pytest.raises(BundleError, match=f"version {VERSION + 1}, newer than version {VERSION}.*Install a newer"):
        Bundle.load(saved)


@pytest.mark.parametrize("text", ["", "{", '{"format": "seqclass-bundle", "version"', "[1, 2]", '{"a": 1}', "\x00\xff"])
def test_a_configuration_that_is_none_is_refused_with_a_remedy(saved: Path, text: str) -> None:
    (saved / "config.json").write_bytes(text.encode("latin-1"))
    reseal(saved)
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
    reseal(saved)
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


def test_a_changed_byte_in_any_file_is_noticed_and_the_file_is_named(saved: Path) -> None:
    whole = contents(saved)
    for name, data in whole.items():
        for place in {0, len(data) // 3, len(data) // 2, len(data) - 2}:
            changed = bytearray(data)
            changed[place] ^= 1
            (saved / name).write_bytes(changed)
            with pytest.raises(BundleError) as caught:
                Bundle.load(saved)
            # A wrong checksum looks like a wrong file: one of the two is named.
            assert name in str(caught.value) or name == "SHA256SUMS"
        (saved / name).write_bytes(data)
    Bundle.load(saved)


def test_the_checksums_are_those_that_sha256sum_verifies(saved: Path) -> None:
    checked = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=saved, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.count(": OK") == len(contents(saved)) - 1


def test_checksums_that_are_missing_or_cut_short_are_noticed(saved: Path) -> None:
    sums = saved / "SHA256SUMS"
    whole = sums.read_bytes()
    for size in range(len(whole)):
        sums.write_bytes(whole[:size])
        with pytest.raises(BundleError, match="SHA256SUMS: "):
            Bundle.load(saved)
    sums.unlink()
    with pytest.raises(BundleError, match="SHA256SUMS: the file of checksums is missing"):
        Bundle.load(saved)


def test_checksums_name_no_file_outside_the_folder(saved: Path) -> None:
    (saved.parent / "secret").write_text("x")
    sums = saved / "SHA256SUMS"
    sums.write_text(sums.read_text() + f"{'0' * 64}  ../secret\n")
    with pytest.raises(BundleError, match="SHA256SUMS: a line is no checksum and name of a file"):
        Bundle.load(saved)


def test_files_of_others_in_the_folder_are_left_alone(saved: Path) -> None:
    version = Bundle.load(saved).version
    (saved / ".gitattributes").write_text("* text=auto")
    (saved / "example.fasta").write_text(">a\nACGT\n")
    assert Bundle.load(saved).version == version


def test_a_bundle_of_version_1_loads_and_saving_it_brings_it_up_to_date(saved: Path) -> None:
    version = Bundle.load(saved).version
    as_version_1(saved)
    assert set(contents(saved)) == {"config.json", "model.safetensors", "targets.tsv"}
    old = Bundle.load(saved)
    assert old.version == version
    old.save(saved, force=True)
    assert json.loads((saved / "config.json").read_text())["version"] == VERSION
    assert "SHA256SUMS" in contents(saved)


def test_the_weights_of_version_1_are_still_checked(saved: Path) -> None:
    as_version_1(saved)
    weights = saved / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(BundleError, match=r"model\.safetensors: .*checksum differs"):
        Bundle.load(saved)


def test_the_version_tells_models_apart_by_what_they_answer(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = make_bundle()
    version = bundle.version
    bundle.save(tmp_path / "bundle")
    assert Bundle.load(tmp_path / "bundle").version == version
    bundle.provenance = {"about": {"licence": "mit"}}
    assert bundle.version == version
    for change in (
        {"targets": [Target("other"), *bundle.targets[1:]]},
        {"bin": 16},
        {"model": make_bundle().model},
        {"calibration": Calibration([1.0] * 3, [0.0] * 3, [0.5] * 3, {}, {})},
    ):
        assert replace(bundle, **change).version != version


def test_the_version_notices_that_a_weight_was_changed_in_place(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    before = bundle.version
    assert bundle.version == before
    weight = next(bundle.model.parameters())
    with torch.no_grad():
        weight.view(-1)[0] += 1
    assert bundle.version != before


def card_of(bundle: Bundle, folder: Path) -> tuple[dict[str, object], str]:
    bundle.save(folder, force=True)
    _, matter, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(matter), text


def test_a_card_says_what_is_not_known(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    matter, text = card_of(make_bundle(), tmp_path / "bundle")
    assert matter["library_name"] == "seqclass"
    assert {"dna", "genomics"} <= set(matter["tags"])
    assert "license" not in matter
    assert "model-index" not in matter
    for chapter, said in (
        ("Figures", "Not known"),
        ("Data", "Not known"),
        ("Training", "Not known"),
        ("Intended use", "Not stated"),
        ("Licence", "Not stated"),
        ("Limits", "not calibrated"),
    ):
        assert said in text.split(f"## {chapter}\n")[1].split("\n## ")[0]


def test_a_card_tells_figures_with_their_intervals_and_baselines(
    make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, (300, 3))
    metrics = write_report(
        tmp_path / "report",
        labels=labels,
        scores=(labels + random.normal(size=labels.shape)).astype(np.float32),
        targets=[Target(f"t{number}") for number in range(3)],
        train_positives=np.full(3, 100),
        provenance={"split": "test", "data": {"store": "data/yeast.h5"}},
        baselines={"coin_toss": Baseline(random.random(labels.shape), {})},
    )
    bundle = with_report(make_bundle(), metrics)
    bundle.provenance |= {"experiment": "a | b", "about": {"licence": "apache-2.0", "intended_use": "Promoters."}}
    matter, text = card_of(bundle, tmp_path / "bundle")
    data = ModelCardData(**matter)
    assert data.license == "apache-2.0"
    results = {each.metric_type: each for each in ModelCard.load(tmp_path / "bundle" / "README.md").data.eval_results}
    assert results["roc_auc"].metric_value == pytest.approx(roc_auc_score(labels, metrics_scores(tmp_path)))
    assert results["roc_auc"].dataset_name == "yeast.h5"
    mean, (low, high) = (metrics["model"]["auroc"][name] for name in ("mean", "interval"))
    assert f"| mean AUROC | **{mean:.3f} ({low:.3f} to {high:.3f})** | " in text
    assert f"| {metrics['baselines']['coin_toss']['auroc']['mean']:.3f} |" in text
    assert metrics["comparisons"][0]["verdict"] in text
    assert "Promoters." in text


def metrics_scores(folder: Path) -> object:
    """The scores that a report was made from."""
    with h5py.File(folder / "report" / "predictions.h5") as file:
        return file["scores"][:].T


def test_models_card_adds_a_report_and_what_people_say(
    make_bundle: Callable[..., Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bundle().save(tmp_path / "bundle")
    as_version_1(tmp_path / "bundle")
    main(["models", "card", str(tmp_path / "bundle"), "--licence", "mit", "--limits", "Not for plants."])
    main(["models", "card", str(tmp_path / "bundle"), "--intended-use", "Yeast."])
    text = (tmp_path / "bundle" / "README.md").read_text()
    assert all(said in text for said in ("license: mit", "Not for plants.", "Yeast."))
    Bundle.load(tmp_path / "bundle")
    with pytest.raises(SystemExit):
        main(["models", "card", str(tmp_path / "bundle"), "--report", str(tmp_path)])
    assert "there is no report here" in capsys.readouterr().err
