"""Jobs: a file is taken, judged beside the requests, and its table is the one that `seqclass predict` writes."""

from __future__ import annotations

import gzip
import io
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("httpx", reason="the test client needs httpx")

from matplotlib.image import imread
from starlette.testclient import TestClient

from seqclass.bundle import Bundle
from seqclass.data.store import Store
from seqclass.drift.observe import place
from seqclass.drift.summary import summarise
from seqclass.errors import SeqclassError
from seqclass.models import create_model
from seqclass.predict import files, memory, write_predictions
from seqclass.serve import job_table, jobs, uploads
from seqclass.serve.app import create_app
from seqclass.serve.limits import Limits
from seqclass.targets import Target

PATIENCE = 60
KEY = "a-key-that-nobody-guesses"
UNKNOWN = "A" * 22


def fasta(count: int, shortest: int = 20, longest: int = 200, seed: int = 0) -> bytes:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(shortest, longest + 1, count)
    letters = ["".join(generator.choice(list("ACGT"), length)) for length in lengths]
    return "".join(f">s{i} of many\n{each}\n" for i, each in enumerate(letters)).encode()


@pytest.fixture
def bundle(make_bundle: Callable[..., Bundle]) -> Bundle:
    return make_bundle(pool="centre-max")


@pytest.fixture
def client(bundle: Bundle, tmp_path: Path) -> Iterator[TestClient]:
    with serving(bundle, tmp_path / "jobs") as client:
        yield client


def serving(bundle: Bundle, folder: Path, key: str | None = None, **limits: Any) -> TestClient:
    app = create_app({"small": bundle}, Limits(**limits), key, jobs_folder=folder)
    return TestClient(app, raise_server_exceptions=False)


def send(client: TestClient, body: bytes, **parameters: Any) -> str:
    headers = {"Content-Type": "text/x-fasta"}
    answer = client.post("/jobs", content=body, params=parameters, headers=headers)
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"jobs/{answer.json()['id']}"
    return str(answer.json()["id"])


def wait(client: TestClient, id: str, *states: str) -> dict[str, Any]:
    late = time.monotonic() + PATIENCE
    while (told := client.get(f"/jobs/{id}").json())["state"] not in (states or ("done", "failed", "cancelled")):
        assert time.monotonic() < late, told
        time.sleep(0.01)
    return dict(told)


def offline(bundle: Bundle, body: bytes, tmp_path: Path, **options: Any) -> bytes:
    file, out = tmp_path / "offline.fasta", tmp_path / "offline.csv"
    file.write_bytes(body)
    write_predictions(bundle, file, out, force=True, **options)
    return out.read_bytes()


def refusal(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(answer.json()["error"])


class Gate:
    """Lets a model judge batches only when it is open, and counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.batches, whole = threading.Event(), 0, memory.judge

        def judge(*given: Any) -> Any:
            self.batches += 1
            assert self.open.wait(PATIENCE)
            return whole(*given)

        monkeypatch.setattr(memory, "judge", judge)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch, client: TestClient) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.open.set()


# Results


@pytest.mark.parametrize("parameters", [{}, {"top_k": 2}], ids=["all", "top"])
def test_the_result_has_the_bytes_that_predict_writes(
    client: TestClient, bundle: Bundle, tmp_path: Path, parameters: dict[str, int]
) -> None:
    body = fasta(700)
    told = wait(client, send(client, body, **parameters))
    assert (told["state"], told["done"], told["total"]) == ("done", 700, 700)
    answer = client.get(f"/jobs/{told['id']}/result.csv")
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert answer.content == offline(bundle, body, tmp_path, **parameters)
    assert told["version"] == bundle.version
    lines = answer.text.splitlines()
    assert [row["id"] for row in told["preview"]] == ["s0", "s1", "s2", "s3", "s4"]
    for row, line in zip(told["preview"], lines[1:], strict=False):
        for label in row["top"]:
            assert f"{label['probability']:.6g}" in line
        shares = [label["probability"] for label in row["top"]]
        assert shares == sorted(shares, reverse=True)


def test_every_way_of_sending_is_the_same_job(client: TestClient, bundle: Bundle, tmp_path: Path) -> None:
    body = fasta(20)
    expected = offline(bundle, body, tmp_path, top_k=1)
    form = {"model": "small", "top_k": "1", "length_policy": ""}
    for answer in (
        client.post("/jobs?top_k=1", content=body, headers={"Content-Type": "text/plain"}),
        client.post("/jobs?top_k=1", content=gzip.compress(body), headers={"Content-Type": "text/x-fasta"}),
        client.post("/jobs?top_k=1", files={"file": ("a.fa", body)}),
        client.post("/submit_job?top_k=3", files={"file": ("a.fa.gz", gzip.compress(body))}, data=form),
    ):
        assert answer.status_code == 202, answer.text
        id = answer.json()["id"]
        wait(client, id)
        assert client.get(f"/status/{id}").json() == client.get(f"/jobs/{id}").json()
        for path in (f"/jobs/{id}/result.csv", f"/download/{id}"):
            assert client.get(path).content == expected


def test_length_policies_hold_for_jobs(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle, body = make_bundle(), fasta(30, 20, 300)
    with serving(bundle, tmp_path / "jobs") as client:
        for policy in ("centre", "tile"):
            told = wait(client, send(client, body, length_policy=policy))
            expected = offline(bundle, body, tmp_path, length_policy=policy)
            assert client.get(f"/jobs/{told['id']}/result.csv").content == expected
            assert told["total"] == expected.count(b"\n") - 1
        told = wait(client, send(client, body))
        assert told["state"] == "failed"
        assert "takes exactly 64" in told["error"]


def test_queries_are_shown_among_the_training_samples(
    bundle: Bundle, make_store: Callable[..., Store], tmp_path: Path
) -> None:
    known = summarise(bundle, make_store())
    with serving(known, tmp_path / "jobs") as client:
        id = send(client, fasta(40))
        wait(client, id)
        answer = client.get(f"/jobs/{id}/plot.png")
        assert answer.headers["Content-Type"] == "image/png"
        picture = imread(io.BytesIO(answer.content))
        # The rings of the new sequences are of a colour that nothing else has.
        vermilion = np.abs(picture[..., :3] - np.array([0xD5, 0x5E, 0x00]) / 255).max(axis=-1) < 0.05
        assert vermilion.sum() > 40
        assert client.get(f"/download_plot/{id}").content == answer.content
    assert place(known, [np.zeros(64, dtype=np.uint8)]).shape[1] == len(known.summary.components)


def test_without_a_map_of_the_training_samples_there_is_no_plot(client: TestClient) -> None:
    id = send(client, fasta(3))
    wait(client, id)
    assert "no map of its training samples" in refusal(client.get(f"/jobs/{id}/plot.png"), 404)


# Beside requests


def test_progress_is_told_while_a_job_runs(client: TestClient, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "batch_residues", lambda _: 2000)
    id = send(client, fasta(200, 200, 200))
    told = wait(client, id, "running")
    assert (told["done"], told["preview"]) == (0, None)
    assert "the job is running" in refusal(client.get(f"/jobs/{id}/result.csv"), 409)
    assert "the job is running" in refusal(client.get(f"/jobs/{id}/plot.png"), 409)
    gate.open.set()
    seen = set()
    while (told := client.get(f"/jobs/{id}").json())["state"] == "running":
        seen.add((told["done"], told["total"], told["eta_seconds"] is None))
    assert told["state"] == "done"
    assert all(total in (None, 200) and done % 10 == 0 for done, total, _ in seen)
    assert gate.batches == 20


def test_requests_are_answered_while_a_job_runs(
    client: TestClient, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, whole = [], memory.judge

    def slowly(bundle: Bundle, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> Any:
        order.append(len(inputs))
        time.sleep(0.02)
        return whole(bundle, inputs, mask)

    monkeypatch.setattr(memory, "batch_residues", lambda _: 2000)
    body = fasta(400, 200, 200)
    expected = offline(bundle, body, tmp_path)
    monkeypatch.setattr(memory, "judge", slowly)
    id = send(client, body)
    while len(order) < 2:
        time.sleep(0.005)
    for _ in range(5):
        assert client.post("/predict", json={"inputs": ["ACGT" * 50]}).status_code == 200
    assert client.get(f"/jobs/{id}").json()["state"] == "running"
    assert order.count(1) == 5
    wait(client, id)
    assert order.count(10) == 40
    assert client.get(f"/jobs/{id}/result.csv").content == expected


def test_too_many_jobs_are_asked_to_come_back(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(bundle, tmp_path / "jobs", jobs=2) as client:
        gate = Gate(monkeypatch)
        try:
            running = send(client, fasta(3))
            wait(client, running, "running")
            waiting = [send(client, fasta(3)) for _ in range(2)]
            answer = client.post("/jobs", content=fasta(3), headers={"Content-Type": "text/plain"})
            assert "2 jobs wait already, and 2 may" in refusal(answer, 429)
            assert 1 <= int(answer.headers["Retry-After"]) <= 600
            assert client.get(f"/jobs/{waiting[1]}").json()["state"] == "queued"
        finally:
            gate.open.set()
        for id in waiting:
            assert wait(client, id)["state"] == "done"


def test_a_cancelled_job_ends_and_leaves_nothing(client: TestClient, gate: Gate, tmp_path: Path) -> None:
    running, queued = send(client, fasta(50)), send(client, fasta(3))
    wait(client, running, "running")
    for id in (queued, running):
        assert client.delete(f"/jobs/{id}").status_code == 204
    gate.open.set()
    for id in (running, queued):
        assert client.get(f"/jobs/{id}").json()["state"] == "cancelled"
        assert "the job is cancelled" in refusal(client.get(f"/jobs/{id}/result.csv"), 409)
    after = send(client, fasta(3))
    assert wait(client, after)["state"] == "done"
    assert {path.name for path in (tmp_path / "jobs").iterdir() if path.is_dir()} == {after}
    assert client.delete(f"/jobs/{after}").status_code == 204
    assert "no such job" in refusal(client.get(f"/jobs/{after}"), 404)
    assert not [path for path in (tmp_path / "jobs").iterdir() if path.is_dir()]


# What is kept


def test_a_restart_goes_on_where_the_job_was_stopped(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, body = tmp_path / "jobs", fasta(300, 200, 200)
    expected = offline(bundle, body, tmp_path)
    monkeypatch.setattr("seqclass.predict.portions._STRETCHES", 100)
    scored, whole, third = [], memory.judge, threading.Event()

    def judge(bundle: Bundle, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> Any:
        scored.append(len(inputs))
        if sum(scored) > 200:
            third.set()
            time.sleep(0.3)
        return whole(bundle, inputs, mask)

    with serving(bundle, folder) as client:
        monkeypatch.setattr(memory, "judge", judge)
        id = send(client, body)
        waiting = send(client, fasta(3))
        assert third.wait(PATIENCE)
    scored.clear()
    with serving(bundle, folder) as client:
        told = wait(client, id)
        assert (told["state"], told["done"]) == ("done", 300)
        assert client.get(f"/jobs/{id}/result.csv").content == expected
        assert wait(client, waiting)["state"] == "done"
        # The warm-up, what was left of the first job, and the second job.
        assert sum(scored) <= 1 + 100 + 3
    with serving(bundle, folder) as client:
        assert client.get(f"/jobs/{id}/result.csv").content == expected


def test_a_job_for_a_model_that_is_not_served_any_more_fails(bundle: Bundle, tmp_path: Path) -> None:
    with serving(bundle, tmp_path) as client:
        id = send(client, fasta(3))
        done = wait(client, id)
    job_table.JobTable(tmp_path).add(job_table.Job(UNKNOWN, "other", None, "error", 0.0))
    with serving(bundle, tmp_path) as client:
        assert "'other' is not served any more" in wait(client, UNKNOWN)["error"]
        assert client.get(f"/jobs/{id}").json() == done


def test_a_result_that_somebody_removed_is_gone(client: TestClient, tmp_path: Path) -> None:
    id = send(client, fasta(3))
    wait(client, id)
    shutil.rmtree(tmp_path / "jobs" / id)
    for path in (f"/jobs/{id}", f"/jobs/{id}/result.csv", f"/jobs/{id}/plot.png"):
        assert "the files of this job are gone" in refusal(client.get(path), 404)


def test_old_jobs_are_forgotten_and_strays_removed(bundle: Bundle, tmp_path: Path) -> None:
    with serving(bundle, tmp_path, keep_days=2) as client:
        id, now = send(client, fasta(3)), time.time()
        wait(client, id)
        kept = client.app.state.service.jobs
        kept.forget_old(now + 1.9 * 86_400)
        assert client.get(f"/jobs/{id}/result.csv").status_code == 200
        kept.forget_old(now + 2.1 * 86_400)
        assert client.get(f"/jobs/{id}").status_code == 404
        assert not (tmp_path / id).exists()
    (tmp_path / UNKNOWN).mkdir()
    (tmp_path / "mine").mkdir()
    with serving(bundle, tmp_path):
        assert not (tmp_path / UNKNOWN).exists()
        assert (tmp_path / "mine").exists()


def test_a_folder_is_of_one_server_and_of_this_version(bundle: Bundle, tmp_path: Path) -> None:
    with serving(bundle, tmp_path / "a"), pytest.raises(SeqclassError, match="another server keeps its jobs here"):
        create_app({"small": bundle}, jobs_folder=tmp_path / "a")
    (tmp_path / "file").touch()
    with pytest.raises(SeqclassError, match="cannot be kept here"):
        create_app({"small": bundle}, jobs_folder=tmp_path / "file")
    for name, content in (("b", b"this is no database" * 100), ("c", None)):
        (tmp_path / name).mkdir()
        if content is not None:
            (tmp_path / name / job_table.FILE).write_bytes(content)
            expected = "cannot be read or written"
        else:
            table = job_table.JobTable(tmp_path / name)
            table._connection.execute("PRAGMA user_version = 9")
            table.close()
            expected = "version 9, newer than version 1"
        with pytest.raises(SeqclassError, match=expected):
            create_app({"small": bundle}, jobs_folder=tmp_path / name)


# What goes wrong


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "the file is empty"),
        (b"no fasta", "FASTA starts with '>'"),
        (bytes(range(256)) * 10, "FASTA starts with '>'"),
        (b">a\nACGT\n>b\nACGJ\n", "record 'b': letter 'J' at position 4"),
        (b">a\n>b\nACGT\n", "record 'a' has no sequence"),
        (gzip.compress(fasta(50))[:-20], "damaged or cut short"),
        (b">a\nACGT\n>long\n" + b"A" * 2001, "record 'long': 2,001 residues, where a sequence may have 2,000"),
        (gzip.compress(bytes(200_000)), "more than 100,000 bytes"),
    ],
    ids=["empty", "text", "binary", "letter", "no-sequence", "cut-gzip", "long", "bomb"],
)
def test_what_cannot_be_judged_is_a_failed_job_with_a_sentence(
    bundle: Bundle, tmp_path: Path, body: bytes, told: str
) -> None:
    with serving(bundle, tmp_path, length=2000, upload=100_000) as client:
        job = wait(client, send(client, body))
        assert job["state"] == "failed"
        assert told in job["error"]
        assert str(tmp_path) not in job["error"]
        assert not (tmp_path / job["id"]).exists()
        assert wait(client, send(client, fasta(2)))["state"] == "done"


def test_a_full_disk_fails_the_job_and_not_the_service(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("seqclass.predict.formats.csv.writer", full)
        job = wait(client, send(client, fasta(3)))
        assert job["state"] == "failed"
        assert "No space left on device" in job["error"]
    with monkeypatch.context() as patch:
        patch.setattr(uploads, "open", full, raising=False)
        answer = client.post("/jobs", content=fasta(3), headers={"Content-Type": "text/plain"})
        assert "No space left on device" in refusal(answer, 507)
    assert not [path for path in (tmp_path / "jobs").iterdir() if path.is_dir()]
    assert wait(client, send(client, fasta(2)))["state"] == "done"


def test_what_nobody_foresaw_fails_the_job_and_is_logged(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("device-side assert")

    with monkeypatch.context() as patch:
        patch.setattr(files, "predict", broken)
        patch.setattr(memory, "judge", broken)
        job = wait(client, send(client, fasta(3)))
    assert (job["state"], job["error"]) == ("failed", "The service failed; its log says how.")
    assert "device-side assert" in caplog.text
    assert wait(client, send(client, fasta(2)))["state"] == "done"


def test_uploads_that_are_no_files_of_sequences_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    with serving(bundle, tmp_path, upload=5000) as client:
        for answer, status, told in (
            (client.post("/jobs", json={"inputs": ["ACGT"]}), 415, "application/json"),
            (client.post("/jobs", content=b"x" * 5001, headers={"Content-Type": "text/plain"}), 413, "5,000 bytes"),
            (client.post("/jobs", content=b"x", headers={"Content-Type": "multipart/form-data"}), 422, "no boundary"),
            (client.post("/jobs", content=b"x", headers={"Content-Type": form["Content-Type"] * 9}), 422, "the form"),
            (client.post("/jobs", content=b"--b\r\n", headers=form), 422, "cut short"),
            (client.post("/jobs", content=b"nothing", headers=form), 422, "the form cannot be read"),
            (client.post("/jobs", data={"model": "small"}, files={"x": (None, b"")}), 422, "holds 0 files"),
            (client.post("/jobs", files=[("a", b">a\nA"), ("b", b">a\nA")]), 422, "more than one file"),
            (client.post("/jobs", files={"file": b">a\nA"}, data={"top_k": "0"}), 422, "greater than or equal to 1"),
            (client.post("/jobs", files={"file": b">a\nA"}, data={"path": "/etc/passwd"}), 422, "not permitted"),
            (client.post("/jobs", files={"file": b">a\nA"}, data={"model": "x" * 2000}), 422, "1,000 bytes"),
            (client.post("/jobs", files={"file": b">a\nA"}, data={"model": "other"}), 404, "no model 'other'"),
            (client.post("/jobs?model=other", content=b">a\nA"), 404, "no model 'other'"),
        ):
            assert told in refusal(answer, status)
        assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_models_of_vectors_take_no_jobs(tmp_path: Path) -> None:
    model = create_model("embedding_mlp", num_targets=2, vector_size=6, hidden=(8,)).eval()
    with serving(Bundle(model, [Target("a"), Target("b")], [1, 1]), tmp_path) as client:
        answer = client.post("/jobs", content=fasta(2), headers={"Content-Type": "text/plain"})
        assert "'small' reads vectors, where jobs are of sequences" in refusal(answer, 422)


def test_ids_cannot_be_guessed_and_others_open_nothing(client: TestClient) -> None:
    ids = {send(client, fasta(1)) for _ in range(5)}
    assert len(ids) == 5
    assert all(re.match(jobs.ID, id) for id in ids)
    for id in ("1", "%2e%2e%2fetc", "a" * 21, "a" * 23, "a" * 21 + "%0a", "x" * 21 + "%00"):
        for path in (f"/jobs/{id}", f"/jobs/{id}/result.csv", f"/status/{id}", f"/download/{id}"):
            assert client.get(path).status_code in (404, 405, 422)
    assert "no such job" in refusal(client.get(f"/jobs/{UNKNOWN}"), 404)
    assert "no such job" in refusal(client.delete(f"/jobs/{UNKNOWN}"), 404)


def test_jobs_ask_for_the_key(bundle: Bundle, tmp_path: Path) -> None:
    with serving(bundle, tmp_path, KEY) as client:
        for method, path in (
            ("POST", "/jobs"),
            ("POST", "/submit_job"),
            ("GET", f"/jobs/{UNKNOWN}"),
            ("GET", f"/jobs/{UNKNOWN}/result.csv"),
            ("GET", f"/download_plot/{UNKNOWN}"),
            ("DELETE", f"/jobs/{UNKNOWN}"),
        ):
            assert "key is missing or wrong" in refusal(client.request(method, path), 401)
