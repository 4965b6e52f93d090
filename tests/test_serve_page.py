"""The page in a headless Chromium: from paste to picture, an invalid letter, a large file, by keyboard, on a phone."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")

import uvicorn
from browser import CHROMIUM, Browser, browser

from seqclass.bundle import Bundle
from seqclass.data.store import Store
from seqclass.drift.summary import summarise
from seqclass.predict import memory
from seqclass.predict.records import predict
from seqclass.serve.app import create_app
from seqclass.targets import Target

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

LETTERS = "".join(np.random.default_rng(3).choice(list("ACGT"), 180))


@pytest.fixture
def bundle(make_bundle: Callable[..., Bundle], make_store: Callable[..., Store]) -> Bundle:
    bundle = summarise(make_bundle(num_targets=12, pool="centre-max"), make_store(num_targets=12))
    return replace(bundle, targets=[Target(f"factor {i}") for i in range(12)])


@pytest.fixture
def address(bundle: Bundle) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(create_app({"yeast": bundle}), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        server.should_exit = True
        thread.join(30)


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Browser]:
    with browser(tmp_path / "profile") as tab:
        yield tab


def paste(tab: Browser, text: str) -> None:
    tab.wait("!document.getElementById('predict').disabled && document.getElementById('about').textContent")
    tab.run("document.getElementById('sequences').focus()")
    tab.type(text)


def many_sequences(file: Path) -> list[tuple[str, str]]:
    generator = np.random.default_rng(1)
    named = [(f"s{i}", "".join(generator.choice(list("ACGT"), 40))) for i in range(2000)]
    file.write_text("".join(f">{name}\n{letters}\n" for name, letters in named))
    return named


def test_from_paste_to_picture(tab: Browser, address: str, bundle: Bundle) -> None:
    tab.open(address)
    paste(tab, f">mine\n{LETTERS}\n")
    tab.run("document.getElementById('predict').click()")
    tab.wait("document.querySelectorAll('.bar').length === 10")
    (expected,) = predict(bundle, [LETTERS])
    shown = tab.run("[...document.querySelectorAll('.bar')].map((bar) => bar.innerText.split(/\\n/))")
    assert [name for name, _ in shown] == [label.name for label in expected.top(10)]
    assert [float(value) for _, value in shown] == pytest.approx([p for _, p in expected.top(10)], abs=6e-4)
    tab.run("document.getElementById('explain').click()")
    tab.wait("document.querySelector('#picture svg')")
    letters = tab.run(
        "[...document.querySelectorAll('#picture text[font-family=monospace]')].map((t) => t.textContent)"
    )
    assert "".join(letters) in LETTERS
    assert 20 <= len(letters) <= 60
    tab.run("document.getElementById('zoom-all').click()")
    assert tab.run("view[1] - view[0]") == len(LETTERS)
    saved = tab.run("new XMLSerializer().serializeToString(picture(900, LIGHT))")
    assert saved.startswith("<svg")
    assert "var(" not in saved
    assert tab.complaints == []


def test_an_invalid_letter_is_named_where_it_was_pasted(tab: Browser, address: str) -> None:
    tab.open(address)
    paste(tab, ">good\nACGT\n>bad\nACGZ\n")
    tab.run("document.getElementById('predict').click()")
    tab.wait("document.getElementById('status').className === 'bad'")
    told = tab.run("document.getElementById('status').textContent")
    assert "record 'bad': letter 'Z' at position 4" in told
    assert tab.run("document.getElementById('results').hidden")


def test_a_file_of_2000_sequences(tab: Browser, address: str, bundle: Bundle, tmp_path: Path) -> None:
    named = many_sequences(tmp_path / "many.fa")
    tab.open(address)
    paste(tab, "")
    tab.give_file("#file", tmp_path / "many.fa")
    tab.wait("document.getElementById('read').textContent === '2,000 sequences'")
    tab.run("document.getElementById('predict').click()")
    tab.wait("records.length === 2000 && !document.getElementById('results').hidden")
    found = tab.run("records.map((each) => [each.id, each.top[0].label, each.top[0].probability])")
    for (name, label, probability), one in zip(found, predict(bundle, named), strict=True):
        assert name == one.id
        assert probability == pytest.approx(one.scores[label], abs=1e-5)
    assert tab.run("document.querySelectorAll('#rows tr').length") == 25
    tab.run("document.getElementById('later').click()")
    assert "26-50 of 2,000" in tab.run("document.getElementById('page-of').textContent")


def test_a_file_of_2000_sequences_as_a_job(
    tab: Browser, address: str, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = memory.judge
    monkeypatch.setattr(memory, "batch_residues", lambda _: 4000)
    monkeypatch.setattr(memory, "judge", lambda *given: (time.sleep(0.1), whole(*given))[1])
    named = many_sequences(tmp_path / "many.fa")
    tab.open(address)
    paste(tab, "")
    tab.give_file("#file", tmp_path / "many.fa")
    tab.wait("document.getElementById('read').textContent === '2,000 sequences'")
    tab.run("document.getElementById('send-job').focus()")
    tab.press("Enter")
    tab.wait("document.getElementById('job-status').textContent.includes(' of 2,000 predictions')")
    assert tab.run("document.activeElement.id") == "job-title"
    tab.wait("document.getElementById('job-progress').value > 0")
    assert tab.run("document.getElementById('job-progress').max") == 2000
    address_of_job = tab.run("location.href")
    tab.open(address)
    tab.open(address_of_job)
    tab.wait("document.getElementById('job-status').textContent.startsWith('Done: 2,000 predictions')")
    shown = tab.run("[...document.querySelectorAll('#job-rows tr')].map((row) => row.innerText.split(/\\t/))")
    assert len(shown) == 5
    for cells, one in zip(shown, predict(bundle, named[:5]), strict=True):
        best = one.top(1)[0]
        assert cells[:3] == [one.id, "0-40", best.name]
        assert float(cells[3]) == pytest.approx(best.probability, abs=6e-4)
    table = tab.run("fetched(`jobs/${location.hash.slice(5)}/result.csv`).then((answer) => answer.text())")
    assert table.count("\n") == 2001
    tab.run("document.getElementById('job-plot').click()")
    tab.wait("document.getElementById('job-picture').naturalWidth > 0")
    tab.run("document.getElementById('job-delete').click()")
    tab.wait("document.getElementById('job').hidden")
    assert tab.complaints == []


def test_a_job_that_fails_or_is_cancelled_says_so_on_a_phone_too(
    tab: Browser, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tab.open(address, width=390, height=844, dark=True)
    paste(tab, ">bad\nACGZ\n")
    tab.run("document.getElementById('send-job').click()")
    tab.wait("document.getElementById('job-status').className === 'bad'")
    assert "record 'bad': letter 'Z' at position 4" in tab.run("document.getElementById('job-status').textContent")
    assert tab.run("document.getElementById('job-table').hidden")
    whole, free = memory.judge, threading.Event()
    monkeypatch.setattr(memory, "judge", lambda *given: (free.wait(60), whole(*given))[1])
    tab.run("document.getElementById('clear').click()")
    tab.type(LETTERS)
    tab.run("document.getElementById('send-job').click()")
    tab.wait("document.getElementById('job-status').textContent.startsWith('0 of 1 prediction')")
    tab.run("document.getElementById('job-cancel').click()")
    tab.wait("document.getElementById('job-status').textContent === 'It was cancelled.'")
    free.set()
    assert tab.run("document.documentElement.scrollWidth") <= 390


def test_by_keyboard_alone(tab: Browser, address: str) -> None:
    tab.open(address)
    paste(tab, LETTERS)
    tab.press("Enter", modifiers=2)
    tab.wait("document.querySelectorAll('.bar').length === 10")
    tab.run("document.getElementById('target').focus()")
    tab.press("Enter")
    tab.wait("document.querySelector('#picture svg')")
    tab.run("document.getElementById('picture').focus()")
    before = tab.run("view")
    tab.press("-")
    assert tab.run("view[1] - view[0]") > before[1] - before[0]
    tab.press("0")
    assert tab.run("view") == [0, len(LETTERS)]
    tab.press("+")
    tab.press("ArrowRight")
    assert tab.run("view[0]") > 0


def test_on_a_phone_at_night_nothing_is_cut_off(tab: Browser, address: str) -> None:
    tab.open(address, width=390, height=844, dark=True)
    paste(tab, LETTERS)
    tab.run("document.getElementById('predict').click()")
    tab.wait("document.querySelectorAll('.bar').length === 10")
    tab.run("document.getElementById('explain').click()")
    tab.wait("document.querySelector('#picture svg')")
    assert tab.run("document.documentElement.scrollWidth") <= 390
    paper, text = tab.run("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
    assert (paper, text) == ("rgb(24, 26, 27)", "rgb(221, 221, 221)")


def test_the_interface_is_shown_without_anything_from_elsewhere(tab: Browser, address: str) -> None:
    tab.open(f"{address}docs")
    tab.wait("document.querySelectorAll('details').length > 20")
    assert "/predict" in tab.run("document.body.innerText")
    assert tab.complaints == []
