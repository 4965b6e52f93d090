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

import pytest

pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")

from seqclass.bundle import Bundle
from seqclass.predict.records import predict

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


def test_a_second_server_on_the_port_and_a_damaged_bundle_end_in_one_line(bundle: Path, tmp_path: Path) -> None:
    weights = bundle / "model.safetensors"
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        second = command(bundle, "--port", str(port))
        _, errors = second.communicate(timeout=START)
        assert second.returncode == 2
        assert re.fullmatch(rf"error: cannot listen at port {port} of 127.0.0.1 .*another --port or --host\.\n", errors)
    weights.write_bytes(weights.read_bytes()[:-8])
    damaged = command(bundle, "--port", "0")
    _, errors = damaged.communicate(timeout=START)
    assert damaged.returncode == 2
    assert errors.count("\n") == 1
    assert "model.safetensors" in errors


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
