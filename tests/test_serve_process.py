"""`seqclass serve` as a process: slow clients, signals, ports, damaged bundles, containers."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")

import uvicorn

from seqclass.bundle import Bundle
from seqclass.cli import main
from seqclass.predict import predict, write_predictions
from seqclass.saved import seal
from seqclass.serve.app import create_app
from seqclass.serve.limits import Limits
from seqclass.serve.server import Server, listen

START = 120


def command(*words: str | Path, **environment: str) -> subprocess.Popen[str]:
    script = "from seqclass.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", script, "serve", *map(str, words)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


@contextmanager
def served(*words: str | Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server that answers, and its port."""
    process = command(*words, "--port", "0", **environment)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"at http://.*:(\d+)/", line)
        assert found, line + (process.stderr.read() if process.poll() is not None else "")
        port, late = int(found[1]), time.monotonic() + START
        while ask(port, "GET", "/health/ready")[0] != 200:
            assert time.monotonic() < late
        yield process, port
    finally:
        process.kill()
        process.communicate()


def ask(port: int, method: str, path: str, asked: object = None, timeout: float = START) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        headers = {"Content-Type": "application/json"} if asked is not None else {}
        connection.request(method, path, None if asked is None else json.dumps(asked), headers)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if body else None
    finally:
        connection.close()


@pytest.fixture
def bundle(make_bundle: Callable[..., Bundle], tmp_path: Path) -> Path:
    make_bundle(pool="centre-max").save(tmp_path / "yeast")
    return tmp_path / "yeast"


def test_slow_clients_and_those_that_leave_hold_up_nobody_and_a_signal_ends_it(bundle: Path) -> None:
    with served(bundle, "--timeout", "2") as (process, port):
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
        for each in slow[:25]:
            each.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Ty")
        for each in slow[25:]:
            each.sendall(
                b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 900\r\n\r\n>half\nAC"
            )
        expected = next(predict(Bundle.load(bundle), ["ACGTACGTAA"])).scores
        status, told = ask(port, "POST", "/predict", {"inputs": ["ACGTACGTAA"]})
        assert status == 200
        assert told["predictions"][0]["scores"] == pytest.approx(expected, abs=1e-5)
        slow[-1].close()
        slow[-2].settimeout(30)
        assert b" 408 " in slow[-2].recv(100)
        assert ask(port, "GET", "/health/live")[0] == 200
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "Traceback" not in errors
        for each in slow:
            each.close()


def test_it_listens_at_once_and_is_ready_once_the_bundles_are_loaded(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, messages = threading.Event(), []
    monkeypatch.setattr("seqclass.serve.server.open_bundle", lambda path: (gate.wait(60), Bundle.load(path))[1])
    app = create_app({})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        config = uvicorn.Config(app, log_level="warning")
        server = Server(config, app.state.service, {"yeast": bundle}, lambda: messages.append("loaded"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        assert ask(port, "GET", "/health/live")[0] == 200
        assert ask(port, "GET", "/health/ready") == (503, {"status": "loading", "models": {}})
        assert not messages
        gate.set()
        while ask(port, "GET", "/health/ready")[0] != 200:
            time.sleep(0.02)
        assert messages == ["loaded"]
        assert ask(port, "POST", "/predict", {"inputs": ["ACGT"]})[0] == 200
        server.should_exit = True
        thread.join(30)
    assert server.failure is None


@pytest.mark.slow
def test_a_killed_server_goes_on_with_its_jobs(bundle: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "many.fasta", tmp_path / "offline.csv"
    generator = np.random.default_rng(0)
    letters = ["".join(generator.choice(list("ACGT"), 200)) for _ in range(7000)]
    file.write_text("".join(f">s{i}\n{each}\n" for i, each in enumerate(letters)))
    folder = tmp_path / "jobs"
    with served(bundle, "--jobs", folder, OMP_NUM_THREADS="1") as (process, port):
        connection = HTTPConnection("127.0.0.1", port, timeout=START)
        connection.request("POST", "/jobs", file.read_bytes(), {"Content-Type": "text/x-fasta"})
        answer = connection.getresponse()
        id = json.loads(answer.read())["id"]
        assert answer.status == 202
        connection.close()
        # The first portion of 4,096 is kept, the next one has begun.
        while not list(folder.glob(f"{id}/.result.csv.unfinished/*.npy")):
            time.sleep(0.02)
        process.kill()
        process.wait()
    with served(bundle, "--jobs", folder, OMP_NUM_THREADS="1") as (_, port):
        late = time.monotonic() + START
        while (told := ask(port, "GET", f"/jobs/{id}")[1])["state"] in ("queued", "running"):
            assert time.monotonic() < late, told
            time.sleep(0.05)
        assert (told["state"], told["total"]) == ("done", 7000)
    write_predictions(Bundle.load(bundle), file, out)
    assert (folder / id / "result.csv").read_bytes() == out.read_bytes()


def test_an_upload_that_breaks_off_leaves_nothing(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    head = b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 900\r\n\r\n>half\nAC"
    with served(bundle, "--jobs", folder, "--timeout", "2") as (_, port):
        leaving, slow = (socket.create_connection(("127.0.0.1", port)) for _ in range(2))
        leaving.sendall(head)
        slow.sendall(head)
        while len([path for path in folder.iterdir() if path.is_dir()]) < 2:
            time.sleep(0.02)
        leaving.close()
        slow.settimeout(30)
        assert b" 408 " in slow.recv(100)
        slow.close()
        late = time.monotonic() + 30
        while [path for path in folder.iterdir() if path.is_dir()]:
            assert time.monotonic() < late
            time.sleep(0.02)
        second = command(bundle, "--port", "0", "--jobs", folder)
        _, errors = second.communicate(timeout=START)
        assert (second.returncode, errors.count("\n")) == (2, 1)
        assert "another server keeps its jobs here" in errors


def test_what_was_accepted_is_answered_after_sigterm(bundle: Path) -> None:
    with served(bundle, "--batch-residues", "500") as (process, port):
        asked = {"inputs": ["ACGTTGCAAC" * 30] * 300, "parameters": {"top_k": 1}}
        answers: list[tuple[int, Any]] = []
        clients = [
            threading.Thread(target=lambda: answers.append(ask(port, "POST", "/predict", asked))) for _ in range(4)
        ]
        for client in clients:
            client.start()
        waiting = 0.0
        while waiting == 0:
            connection = HTTPConnection("127.0.0.1", port, timeout=START)
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
            connection.close()
            waiting = float(re.findall(r'seqclass_queue_residues\{model="yeast"\} (\S+)', text)[0])
            assert any(client.is_alive() for client in clients)
        # All four are in the queue before the signal comes, or are answered already.
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        for client in clients:
            client.join(START)
        assert [(status, len(told["predictions"])) for status, told in answers] == [(200, 300)] * 4
        process.communicate(timeout=60)
        assert process.returncode == 0
        with pytest.raises(ConnectionError):
            ask(port, "GET", "/health/live")


def test_the_body_of_an_answer_does_not_wait_for_its_headers_to_be_acknowledged() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()[:2]):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_second_server_on_the_port_ends_in_one_line(bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        second = command(bundle, "--port", str(port))
        _, errors = second.communicate(timeout=START)
        assert second.returncode == 2
        assert re.fullmatch(rf"error: cannot listen at port {port} of 127.0.0.1 .*another --port or --host\.\n", errors)


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        (
            "config.json",
            lambda content: content.replace(b'"version": 2', b'"version": 99', 1),
            "version 99, newer than",
        ),
        ("config.json", lambda _: b"{", "config.json"),
        ("model.safetensors", lambda content: content[:-8], "model.safetensors"),
        ("SHA256SUMS", lambda _: b"", "SHA256SUMS"),
    ],
    ids=["newer", "config", "weights", "checksums"],
)
def test_a_bundle_that_cannot_be_read_ends_the_server_with_one_line(
    bundle: Path, file: str, change: Callable[[bytes], bytes], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (bundle / file).read_bytes()
    (bundle / file).write_bytes(change(whole))
    assert (bundle / file).read_bytes() != whole
    if told.startswith("version"):
        # Whoever wrote it has also written its checksums.
        (bundle / "SHA256SUMS").unlink()
        seal(bundle)
    with pytest.raises(SystemExit) as ended:
        main(["serve", str(bundle), "--port", "0"])
    assert ended.value.code == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert told in errors


def test_jobs_are_kept_for_each_port_where_programs_keep_their_state(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr("seqclass.serve.server.serve", lambda bundles, **options: asked.update(options))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    main(["serve", str(bundle), "--port", "8123", "--keep-jobs", "2", "--max-jobs", "3", "--max-upload", "4000"])
    assert asked["jobs_folder"] == tmp_path / ".local" / "state" / "seqclass" / "jobs" / "8123"
    assert asked["limits"] == Limits(keep_days=2, jobs=3, upload=4000)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    main(["serve", str(bundle)])
    assert asked["jobs_folder"] == tmp_path / "state" / "seqclass" / "jobs" / "8080"
    for words in ([str(bundle), "--port", "0"], []):
        monkeypatch.setenv("SM_MODEL_DIR", str(bundle))
        main(["serve", *words])
        assert asked["jobs_folder"] is None
    main(["serve", str(bundle), "--jobs", "mine"])
    assert asked["jobs_folder"] == "mine"


def test_a_container_serves_the_model_that_it_was_given(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    bundle.rename(tmp_path / "model" / "bundle")
    with served(SM_MODEL_DIR=str(tmp_path / "model")) as (_, port):
        assert ask(port, "GET", "/ping")[0] == 200
        assert ask(port, "GET", "/models")[1][0]["name"] == "model"
    missing = command(SM_MODEL_DIR=str(tmp_path / "nothing"))
    _, errors = missing.communicate(timeout=START)
    assert (missing.returncode, errors.count("\n")) == (2, 1)
    assert "no BUNDLE is given" in errors
