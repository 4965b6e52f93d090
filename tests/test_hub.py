"""Bundles on a Hugging Face hub: the hub's own client against a small hub on this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hub_server import TOKEN, Hub, running_hub
from huggingface_hub import constants

import seqclass
from seqclass.bundle import Bundle
from seqclass.cli import main
from seqclass.errors import BundleError, MissingPackageError
from seqclass.hub import fetch, push


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running_hub() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        template = running.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield running


@pytest.fixture
def saved(make_bundle: Callable[..., Bundle], tmp_path: Path) -> Path:
    make_bundle().save(tmp_path / "bundle")
    return tmp_path / "bundle"


def test_what_is_pushed_is_what_is_loaded(hub: Hub, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["models", "push", str(saved), "ada/yeast"])
    assert "hf://ada/yeast" in capsys.readouterr().err
    there = hub.files("ada/yeast", "main")[1]
    assert {name: data for name, data in there.items() if name != ".gitattributes"} == {
        file.name: file.read_bytes() for file in saved.iterdir()
    }
    ours, theirs = Bundle.load(saved), seqclass.load("hf://ada/yeast")
    assert theirs.version == ours.version
    tokens = torch.randint(0, 4, (2, 64))
    torch.testing.assert_close(theirs.model(tokens), ours.model(tokens), rtol=0, atol=0)


def test_an_older_revision_stays_there(hub: Hub, saved: Path, make_bundle: Callable[..., Bundle]) -> None:
    push(saved, "hf://ada/yeast")
    first = hub.refs["ada/yeast"]["main"]
    version = Bundle.load(saved).version
    make_bundle(num_targets=4).save(saved, force=True)
    push(saved, "ada/yeast")
    assert len(seqclass.load("hf://ada/yeast").targets) == 4
    assert seqclass.load(f"hf://ada/yeast@{first}").version == version


def test_a_push_is_one_commit_and_takes_away_what_the_new_bundle_lacks(hub: Hub, saved: Path) -> None:
    hub.create("ada/yeast")
    theirs = {"training_summary.safetensors": b"old", "notebook.ipynb": b"{}"}
    hub.commit("ada/yeast", "main", theirs, [])
    before = len(hub.commits["ada/yeast"])
    push(saved, "ada/yeast")
    assert len(hub.commits["ada/yeast"]) == before + 1
    there = hub.files("ada/yeast", "main")[1]
    assert "training_summary.safetensors" not in there
    assert there["notebook.ipynb"] == b"{}"
    seqclass.load("hf://ada/yeast")
    assert not any("notebook.ipynb" in path for path in hub.asked)


def test_what_was_loaded_once_is_there_when_the_hub_is_not(
    hub: Hub, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(saved, "ada/yeast")
    version = seqclass.load("hf://ada/yeast").version
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert seqclass.load("hf://ada/yeast").version == version
    with pytest.raises(BundleError, match=r"hf://ada/fly: the hub cannot be reached.*or give the folder"):
        fetch("hf://ada/fly")


def test_a_changed_byte_on_the_hub_is_noticed(hub: Hub, saved: Path) -> None:
    push(saved, "ada/yeast")
    weights = bytearray(hub.files("ada/yeast", "main")[1]["model.safetensors"])
    weights[-1] ^= 1
    hub.commit("ada/yeast", "main", {"model.safetensors": bytes(weights)}, [])
    with pytest.raises(BundleError, match="checksum differs"):
        seqclass.load("hf://ada/yeast")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("hf://ada/none", "the hub has no such model, or not for you"),
        ("hf://ada/yeast@v9", "there is no such revision"),
        ("hf://yeast", "is no address of a bundle"),
        ("hf://ada/ye ast", "is no address of a bundle"),
        ("hf://ada/yeast..fly", "hf://ada/yeast..fly: "),
    ],
)
def test_what_is_not_there_is_told_in_one_sentence(hub: Hub, saved: Path, address: str, said: str) -> None:
    hub.create("ada/yeast")
    with pytest.raises(BundleError, match=said.replace(".", r"\.")) as caught:
        seqclass.load(address)
    assert caught.value.remedy


def test_a_push_without_leave_says_how_to_get_it(hub: Hub, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(BundleError) as caught:
        push(saved, "ada/yeast")
    assert "HF_TOKEN" in caught.value.remedy


def test_a_hub_that_is_not_there_is_told(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(BundleError, match="cannot be reached"):
        push(saved, "ada/yeast")


def test_what_is_no_bundle_is_not_pushed(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="this is not a bundle"):
        push(tmp_path, "ada/yeast")
    assert not hub.commits


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingPackageError, match=r"huggingface_hub package") as caught:
        seqclass.load("hf://ada/yeast")
    assert "seqclass[hub]" in caught.value.remedy
