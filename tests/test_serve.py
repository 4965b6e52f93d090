"""The service: its answers are those of `seqclass.predict`, and bad input ends in one clear sentence."""

from __future__ import annotations

import gzip
import io
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.image import imread

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("httpx", reason="the test client needs httpx")

from starlette.testclient import TestClient

from seqclass.attribution.attribute import attribute
from seqclass.bundle import Bundle
from seqclass.calibration import Calibration
from seqclass.cli import main
from seqclass.errors import BundleError, SeqclassError
from seqclass.models import create_model
from seqclass.onnx_file import open_bundle
from seqclass.predict import memory
from seqclass.predict.records import predict
from seqclass.serve.app import create_app
from seqclass.serve.hosted import name_bundles
from seqclass.serve.key import read_key
from seqclass.serve.limits import Limits
from seqclass.targets import Target

KEY = "a-key-that-nobody-guesses"
Named = list[tuple[str, str]]


def sequences(count: int, shortest: int = 1, longest: int = 200, seed: int = 0) -> Named:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(shortest, longest + 1, count)
    return [(f"s{i}", "".join(generator.choice(list("ACGTN"), length))) for i, length in enumerate(lengths)]


def fasta(named: Named) -> bytes:
    return "".join(f">{name} description\n{letters}\n" for name, letters in named).encode()


@pytest.fixture
def bundle(make_bundle: Callable[..., Bundle]) -> Bundle:
    return make_bundle(pool="centre-max")


@pytest.fixture
def vectors() -> Bundle:
    model = create_model("embedding_mlp", num_targets=3, vector_size=6, hidden=(8,)).eval()
    targets = [Target(name, "place") for name in ("nucleus", "membrane", "none")]
    return Bundle(model, targets, [1, 1, 1], exclusive=["place"])


@pytest.fixture
def client(bundle: Bundle) -> Iterator[TestClient]:
    with serving(bundle) as client:
        yield client


def serving(bundle: Bundle, key: str | None = None, **limits: Any) -> TestClient:
    return TestClient(create_app({"small": bundle}, Limits(**limits), key), raise_server_exceptions=False)


def scores(answer: Any) -> list[dict[str, float]]:
    assert answer.status_code == 200, answer.text
    return [record["scores"] for record in answer.json()["predictions"]]


def assert_as_offline(bundle: Bundle, named: Named, answer: Any, policy: Any = "error") -> None:
    expected = list(predict(bundle, named, length_policy=policy))
    records = answer.json()["predictions"]
    assert [(r["id"], r["start"], r["end"]) for r in records] == [(one.id, one.start, one.end) for one in expected]
    for record, one in zip(records, expected, strict=True):
        assert record["scores"] == pytest.approx(one.scores, abs=1e-5)


def refusal(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert set(problem) <= {"error", "record", "remedy"}
    return str(problem["error"])


# Answers


def test_every_way_of_asking_gives_the_offline_prediction(client: TestClient, bundle: Bundle) -> None:
    named = sequences(30)
    body = fasta(named)
    asked = [{"id": name, "sequence": letters} for name, letters in named]
    for answer in (
        client.post("/predict", json={"inputs": asked}),
        client.post("/predict", content=body, headers={"Content-Type": "text/x-fasta"}),
        client.post("/predict", content=gzip.compress(body), headers={"Content-Type": "text/plain; charset=utf-8"}),
        client.post("/predict", files={"file": ("named.fa", body)}),
        client.post("/invocations", json={"inputs": asked}),
        client.post(
            "/invocations",
            content="id,sequence\n" + "".join(f"{name},{letters}\n" for name, letters in named),
            headers={"Content-Type": "text/csv"},
        ),
    ):
        assert answer.status_code == 200, answer.text
        assert_as_offline(bundle, named, answer)
    told = client.post(
        "/v2/models/small/infer",
        json={"id": "7", "inputs": [{"name": "x", "shape": [30], "datatype": "BYTES", "data": [s for _, s in named]}]},
    ).json()
    assert (told["model_name"], told["id"]) == ("small", "7")
    (output,) = told["outputs"]
    assert (output["shape"], output["datatype"]) == ([30, 3], "FP32")
    expected = np.array([one.probabilities for one in predict(bundle, named)])
    np.testing.assert_allclose(np.reshape(output["data"], output["shape"]), expected, atol=1e-5)


@pytest.mark.parametrize("policy", ["centre", "tile"])
def test_length_policies_do_what_they_do_offline(make_bundle: Callable[..., Bundle], policy: str) -> None:
    bundle, named = make_bundle(), sequences(6, 20, 300)
    with serving(bundle) as client:
        assert "takes exactly 64" in refusal(client.post("/predict", json={"inputs": [named[0][1]]}), 422)
        asked = [{"id": name, "sequence": letters} for name, letters in named]
        answer = client.post("/predict", json={"inputs": asked, "parameters": {"length_policy": policy}})
        assert_as_offline(bundle, named, answer, policy)
        by_query = client.post(f"/predict?length_policy={policy}", files={"file": fasta(named)})
        assert by_query.json() == answer.json()


def test_top_k_tells_of_the_most_probable_alone(client: TestClient, bundle: Bundle) -> None:
    answer = client.post("/predict", json={"inputs": ["ACGTACGTAC"], "parameters": {"top_k": 2}})
    (record,) = answer.json()["predictions"]
    (expected,) = predict(bundle, ["ACGTACGTAC"])
    assert record["id"] == "sequence_1"
    assert [each["label"] for each in record["top"]] == [label.name for label in expected.top(2)]
    assert "scores" not in record


def test_a_calibrated_bundle_tells_what_is_called(bundle: Bundle) -> None:
    low, high = [0.0] * 3, [2.0] * 3
    for threshold, expected in ((low, ["t0", "t1", "t2"]), (high, [])):
        calibration = Calibration([1.0] * 3, [0.0] * 3, threshold, {}, {})
        with serving(replace(bundle, calibration=calibration)) as client:
            (record,) = client.post("/predict", json={"inputs": ["ACGTACGT"]}).json()["predictions"]
            assert record["calls"] == expected


def test_vectors_are_scored_from_npy_csv_json_and_tensors(vectors: Bundle) -> None:
    rows = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    with torch.no_grad():
        expected = torch.softmax(vectors.model(torch.from_numpy(rows)[:, None]), dim=1).numpy()
    array = io.BytesIO()
    np.save(array, rows)
    names = [target.name for target in vectors.targets]
    tensor = {"name": "v", "shape": [5, 6], "datatype": "FP32", "data": rows.ravel().tolist()}
    with serving(vectors) as client:
        for answer in (
            client.post("/invocations", content=array.getvalue(), headers={"Content-Type": "application/x-npy"}),
            client.post(
                "/invocations",
                content="\n".join(",".join(map(str, row)) for row in rows.tolist()),
                headers={"Content-Type": "text/csv"},
            ),
            client.post("/predict", json={"inputs": rows.tolist()}),
        ):
            found = [[told[name] for name in names] for told in scores(answer)]
            np.testing.assert_allclose(found, expected, atol=1e-5)
        (output,) = client.post("/v2/models/small/infer", json={"inputs": [tensor]}).json()["outputs"]
        np.testing.assert_allclose(np.reshape(output["data"], (5, 3)), expected, atol=1e-5)
        told = client.post(
            "/invocations",
            content=array.getvalue(),
            headers={"Content-Type": "application/x-npy", "Accept": "application/x-npy"},
        )
        np.testing.assert_allclose(np.load(io.BytesIO(told.content)), expected, atol=1e-5)
        assert "vectors of 6 numbers" in refusal(client.post("/predict", json={"inputs": ["ACDEF"]}), 422)
        assert "6 numbers" in refusal(client.post("/predict", json={"inputs": [[1.0, 2.0]]}), 422)


def test_an_explanation_is_that_of_attribute(client: TestClient, bundle: Bundle) -> None:
    letters = "ACGTTGCAAC" * 7
    for method in ("grad-cam", "input-x-gradient"):
        asked = {"input": letters, "target": "T1", "parameters": {"method": method}}
        told = client.post("/explain", json=asked).json()
        expected = attribute(bundle, [letters], 1, method=method)
        np.testing.assert_allclose(told["saliency"], expected.scores[0], atol=1e-5)
        assert (told["letters"], told["target"], told["method"]) == (letters, "t1", method)
        (offline,) = predict(bundle, [letters])
        assert told["probability"] == pytest.approx(offline.scores["t1"], abs=1e-5)


def test_an_explanation_can_be_a_picture(client: TestClient) -> None:
    asked = {"input": {"id": "mine", "sequence": "ACGTTGCAAC" * 7}, "target": "t0"}
    png = client.post("/explain", json=asked, headers={"Accept": "image/png"})
    assert png.headers["Content-Type"] == "image/png"
    assert imread(io.BytesIO(png.content)).std() > 0
    svg = client.post("/explain", json=asked, headers={"Accept": "image/svg+xml"})
    assert "mine: t0, predicted probability" in svg.text


def test_models_say_what_they_take(bundle: Bundle, vectors: Bundle) -> None:
    with TestClient(create_app({"small": bundle, "places": vectors})) as client:
        assert [each["name"] for each in client.get("/models").json()] == ["small", "places"]
        small = client.get("/models/small").json()
        assert (small["alphabet"], small["version"]) == ("dna", bundle.version)
        assert [target["name"] for target in small["targets"]] == ["t0", "t1", "t2"]
        assert "grad-cam" in small["methods"]
        assert small["limits"]["max_length"] == Limits().length
        assert client.get("/models/places").json()["vector_size"] == 6
        assert "'other' among 2" in refusal(client.get("/models/other"), 404)
        answer = client.post("/predict", json={"inputs": ["ACGT"], "parameters": {"model": "other"}})
        assert "no model 'other'" in refusal(answer, 404)
        answer = client.post("/predict", json={"inputs": [[0.0] * 6], "parameters": {"model": "places"}})
        assert answer.json()["model"] == "places"


def test_health_and_metrics_tell_of_a_model_that_fails(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get("/ping").status_code == client.get("/v2/health/ready").status_code == 200
    for _ in range(3):
        assert client.post("/predict", json={"inputs": ["ACGT"] * 2}).status_code == 200

    def broken(*_: object) -> None:
        raise RuntimeError("device-side assert")

    monkeypatch.setattr(memory, "judge", broken)
    assert "its log says how" in refusal(client.post("/predict", json={"inputs": ["ACGT"]}), 500)
    for path in ("/ping", "/health/ready", "/v2/health/ready", "/v2/models/small/ready"):
        assert client.get(path).status_code == 503
    assert client.get("/health/live").status_code == 200
    text = client.get("/metrics").text
    assert 'seqclass_requests_total{method="POST",route="/predict",status="200"} 3.0' in text
    assert 'seqclass_requests_total{method="POST",route="/predict",status="500"} 1.0' in text
    assert 'seqclass_batch_sequences_sum{model="small"} 6.0' in text
    assert 'seqclass_queue_residues{model="small"} 0.0' in text


def test_where_memory_does_not_suffice_halves_are_scored(
    client: TestClient, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, sizes = memory.judge, []

    def little_memory(bundle: Bundle, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> Any:
        sizes.append(len(inputs))
        if len(inputs) > 3:
            raise torch.OutOfMemoryError
        return whole(bundle, inputs, mask)

    monkeypatch.setattr(memory, "judge", little_memory)
    named = sequences(16)
    answer = client.post("/predict", json={"inputs": [{"id": name, "sequence": s} for name, s in named]})
    assert max(sizes) == 16
    monkeypatch.setattr(memory, "judge", whole)
    assert_as_offline(bundle, named, answer)

    def no_memory(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(memory, "judge", no_memory)
    answer = client.post("/predict", json={"inputs": ["ACGT"]})
    assert "too small for one sequence of 4 residues" in refusal(answer, 507)
    assert client.get("/health/ready").status_code == 200


# Refusals


def test_a_bad_record_is_named(client: TestClient) -> None:
    text = {"Content-Type": "text/x-fasta"}
    for body, told in (
        (b">good\nACGT\n>bad\nACGZ\n", "record 'bad': letter 'Z' at position 4"),
        (b">none\n>other\nACGT\n", "record 'none' has no sequence"),
        (b"", "the file is empty"),
        (b"just text", "FASTA starts with '>'"),
        (bytes(range(256)) * 10, "FASTA starts with '>'"),
        (b"\x1f\x8b" + bytes(50), "gzip data is damaged"),
    ):
        error = refusal(client.post("/predict", content=body, headers=text), 422)
        assert told in error
        assert "/tmp" not in error
    answer = client.post("/predict", json={"inputs": ["ACGT", {"id": "mine", "sequence": "AC-T"}]})
    assert answer.json()["record"] == "record 'mine'"
    assert "record 'sequence_2'" in refusal(client.post("/predict", json={"inputs": ["ACGT", ""]}), 422)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"inputs": "ACGT"}',
        b'{"inputs": [1]}',
        b'{"inputs": [null]}',
        b'{"inputs": ["ACGT"], "parameters": {"top_k": 0}}',
        b'{"inputs": ["ACGT"], "parameters": {"top_k": 1e99}}',
        b'{"inputs": ["ACGT"], "parameters": {"pickle": "x"}}',
        b'{"inputs": ["ACGT"], "more": 1}',
        b'{"inputs": ["\xff\xfe"]}',
        b'{"inputs": ["\\ud800"]}',
        "{" * 100_000,
        "[" * 100_000,
    ],
)
def test_json_of_another_kind_is_refused(client: TestClient, body: bytes | str) -> None:
    answer = client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert refusal(answer, 422)


def test_other_content_types_are_refused_with_those_that_are_taken(client: TestClient) -> None:
    for kind in ("application/x-python-pickle", "image/png", ""):
        told = refusal(client.post("/predict", content=b"x", headers={"Content-Type": kind}), 415)
        assert "application/json, text/x-fasta" in told
    answer = client.post("/predict", content=b"x", headers={"Content-Type": "text/plain", "Content-Encoding": "br"})
    assert "compressed" in refusal(answer, 415)
    answer = client.post("/v2/models/small/infer", content=b"", headers={"Inference-Header-Content-Length": "3"})
    assert "binary" in refusal(answer, 415)


def test_a_form_without_its_file_is_refused(client: TestClient) -> None:
    for answer in (
        client.post("/predict", content=b"x", headers={"Content-Type": "multipart/form-data"}),
        client.post("/predict", content=b"x", headers={"Content-Type": "multipart/form-data; boundary=b"}),
        client.post("/predict", files=[("file", b">a\nACGT\n"), ("file", b">a\nACGT\n")]),
        client.post("/predict", files={"file": b">a\nACGT\n"}, data={"path": "/etc/passwd"}),
    ):
        assert "curl -F file=@" in refusal(answer, 422)


def test_limits_on_bytes_sequences_windows_and_lengths(make_bundle: Callable[..., Bundle]) -> None:
    text = {"Content-Type": "text/plain"}
    with serving(make_bundle(), body=5000, sequences=10, length=2000) as client:
        assert "more than 5,000 bytes" in refusal(client.post("/predict", content=b"x" * 5001, headers=text), 413)
        parts = iter([b"x" * 3000, b"x" * 3000])
        assert "more than 5,000 bytes" in refusal(client.post("/predict", content=parts, headers=text), 413)
        bomb = gzip.compress(bytes(1 << 20))
        assert len(bomb) < 5000
        assert "once it is unpacked" in refusal(client.post("/predict", content=bomb, headers=text), 413)
        assert "more than 10 sequences" in refusal(client.post("/predict", json={"inputs": ["ACGT"] * 11}), 413)
        many = fasta([(f"s{i}", "ACGT" * 16) for i in range(11)])
        assert "more than 10 sequences" in refusal(client.post("/predict", content=many, headers=text), 413)
        windows = {"inputs": ["ACGT" * 300], "parameters": {"length_policy": "tile"}}
        assert "or windows of them" in refusal(client.post("/predict", json=windows), 413)
        long = client.post("/predict", json={"inputs": [{"id": "long", "sequence": "A" * 2001}]})
        assert "record 'long': 2,001 residues, where a sequence may have 2,000" in refusal(long, 422)
        assert client.get("/models/small").json()["limits"]["max_sequences"] == 10


@pytest.mark.parametrize(
    ("body", "kind", "status", "told"),
    [
        (b">one\n" + b"ACGTACGTAC" * (1 << 20), "text/x-fasta", 422, "10,485,760 residues, where a sequence may have"),
        (b">a\nA\n" * 1_000_000, "text/x-fasta", 413, "more than 4,096 sequences"),
        (json.dumps({"inputs": ["A"] * 1_000_000}).encode(), "application/json", 413, "more than 4,096 sequences"),
        (b"x,A\n" * 1_000_000, "text/csv", 413, "more than 4,096 sequences"),
        (bytes(10 << 20), "text/x-fasta", 422, "FASTA starts with '>'"),
        (b"0" * (10 << 20), "application/json", 422, "Invalid"),
    ],
    ids=["one-line", "tiny-fasta", "tiny-json", "tiny-csv", "zeros", "one-number"],
)
def test_large_bodies_are_refused_soon_and_the_limit_is_named(
    client: TestClient, body: bytes, kind: str, status: int, told: str
) -> None:
    began = time.process_time()
    path = "/invocations" if kind == "text/csv" else "/predict"
    assert told in refusal(client.post(path, content=body, headers={"Content-Type": kind}), status)
    assert time.process_time() - began < 5


def test_answers_are_bounded_by_sequences_times_targets(bundle: Bundle) -> None:
    with serving(bundle, values=30) as client:
        assert len(scores(client.post("/predict", json={"inputs": ["ACGT"] * 10}))) == 10
        assert "more than 10 sequences" in refusal(client.post("/predict", json={"inputs": ["ACGT"] * 11}), 413)


def test_an_explanation_that_takes_too_long_is_refused_before_it_begins(bundle: Bundle) -> None:
    with serving(bundle, explained=10_000) as client:
        for method, status in (("occlusion", 413), ("smoothgrad", 413), ("gradient-shap", 413), ("saliency", 200)):
            asked = {"input": "ACGT" * 50, "target": "t0", "parameters": {"method": method}}
            assert client.post("/explain", json=asked).status_code == status


def test_what_does_not_exist_is_not_explained(client: TestClient) -> None:
    for change, told in (
        ({"target": "t9"}, "no target 't9' among 3"),
        ({"target": "t"}, "ambiguous"),
        ({"parameters": {"method": "nothing"}}, "no method 'nothing'"),
        ({"parameters": {"layer": "__class__"}}, "__class__"),
        ({"parameters": {"method": "saliency", "layer": "stem"}}, "a layer, where saliency looks at none"),
        ({"input": "ACGJ"}, "letter 'J'"),
    ):
        asked = {"input": "ACGTACGT", "target": "t0"} | change
        assert told in refusal(client.post("/explain", json=asked), 422)


def test_an_answer_that_takes_too_long_is_given_up(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = memory.judge
    with serving(bundle, timeout=0.2) as client:
        monkeypatch.setattr(memory, "judge", lambda *given: (time.sleep(0.6), whole(*given))[1])
        assert "no answer within 0.2 seconds" in refusal(client.post("/predict", json={"inputs": ["ACGT"]}), 504)


def test_arrays_that_hold_objects_or_lie_about_their_size_are_refused(vectors: Bundle) -> None:
    pickled, honest = io.BytesIO(), io.BytesIO()
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(honest, np.zeros((2, 6)))
    lying = honest.getvalue().replace(b"(2, 6)", b"(9, 6)")
    huge = re.sub(rb"\(2, 6\), } {20}", b"(2000000000, 6000000), }", honest.getvalue())
    infinite = io.BytesIO()
    np.save(infinite, np.full((1, 6), np.inf))
    with serving(vectors) as client:
        for body in (pickled.getvalue(), lying, huge, infinite.getvalue(), b"", b"\x93NUMPY", honest.getvalue()[:-1]):
            answer = client.post("/invocations", content=body, headers={"Content-Type": "application/x-npy"})
            assert "as numpy.save writes it" in refusal(answer, 422)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=300) | st.binary(max_size=200).map(lambda tail: b"\x93NUMPY\x01\x00v\x00{'descr': " + tail),
    kind=st.sampled_from(
        ["application/json", "text/csv", "application/x-npy", "text/x-fasta", "multipart/form-data; boundary=x"]
    ),
    route=st.sampled_from(["/predict", "/invocations", "/explain", "/v2/models/small/infer"]),
)
def test_no_bytes_make_the_service_fail(client: TestClient, body: bytes, kind: str, route: str) -> None:
    assert client.post(route, content=body, headers={"Content-Type": kind}).status_code < 500


def test_without_the_key_nothing_is_told(bundle: Bundle) -> None:
    with serving(bundle, KEY) as client:
        for brought in (None, "Bearer wrong", f"Basic {KEY}", KEY):
            header = {} if brought is None else {"Authorization": brought}
            for method, path in (
                ("POST", "/predict"),
                ("POST", "/explain"),
                ("POST", "/invocations"),
                ("POST", "/v2/models/small/infer"),
                ("GET", "/models"),
                ("GET", "/models/small"),
                ("GET", "/metrics"),
                ("GET", "/v2/models/small"),
            ):
                answer = client.request(method, path, headers=header)
                assert "key is missing or wrong" in refusal(answer, 401)
                assert answer.headers["WWW-Authenticate"] == "Bearer"
        right = {"Authorization": f"Bearer {KEY}"}
        assert len(scores(client.post("/predict", json={"inputs": ["ACGT"]}, headers=right))) == 1
        assert client.get("/health/ready").status_code == client.get("/").status_code == 200


def test_a_key_file_holds_one_long_word(tmp_path: Path) -> None:
    file = tmp_path / "key"
    for text in ("", "short", "two words of a sentence", "ä" * 30):
        file.write_text(text)
        with pytest.raises(SeqclassError, match="key"):
            read_key(file)
    with pytest.raises(SeqclassError, match="cannot be read"):
        read_key(tmp_path / "missing")
    file.write_text(f"{KEY}\n")
    assert read_key(file) == KEY


def test_while_models_are_loaded_only_health_answers() -> None:
    with TestClient(create_app({}), raise_server_exceptions=False) as client:
        assert client.get("/health/live").status_code == client.get("/v2/health/live").status_code == 200
        for path in ("/health/ready", "/v2/health/ready", "/ping"):
            assert client.get(path).status_code == 503
        assert client.get("/health/ready").json()["status"] == "loading"
        for answer in (
            client.get("/models"),
            client.post("/predict", json={"inputs": ["ACGT"]}),
            client.post("/explain", json={"input": "ACGT", "target": "t0"}),
            client.post("/jobs", content=b">a\nACGT\n", headers={"Content-Type": "text/plain"}),
        ):
            assert "the models are being loaded" in refusal(answer, 503)
            assert answer.headers["Retry-After"] == "2"


@pytest.mark.slow
def test_an_onnx_file_is_served_beside_bundles(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
    model = create_model("kmer_logreg", num_targets=3, k=3).eval()
    bundle = Bundle(model, [Target(f"t{i}") for i in range(3)], [1] * 3)
    bundle.save(tmp_path / "yeast")
    main(["export", str(tmp_path / "yeast"), "--to", "onnx", "--out", str(tmp_path / "small.onnx")])
    named = name_bundles([tmp_path / "yeast", tmp_path / "small.onnx"])
    assert list(named) == ["yeast", "small"]
    assert list(name_bundles(["hf://someone/pfam@v2"])) == ["pfam"]
    with TestClient(create_app({name: open_bundle(path) for name, path in named.items()})) as client:
        sent = sequences(8, 20)
        asked = [{"id": name, "sequence": letters} for name, letters in sent]
        answer = client.post("/predict", json={"inputs": asked, "parameters": {"model": "small"}})
        assert answer.json()["model"] == "small"
        assert_as_offline(bundle, sent, answer)
        told = client.get("/models/small").json()
        assert (told["methods"], told["num_targets"]) == ([], 3)


def test_numbers_that_overflow_are_refused(vectors: Bundle) -> None:
    with serving(vectors) as client:
        for row in ([1e300] * 6, [3e38, -3e38] * 3):
            answer = client.post("/predict", json={"inputs": [row]})
            assert answer.status_code in (200, 422), answer.text
        assert refusal(client.post("/predict", json={"inputs": [[1e300] * 6]}), 422)


def test_bundles_are_called_by_their_run_and_no_two_alike(bundle: Bundle, tmp_path: Path) -> None:
    for path in ("yeast/bundle", "human/bundle", "other/yeast"):
        bundle.save(tmp_path / path)
    assert list(name_bundles([tmp_path / "yeast/bundle", tmp_path / "human/bundle"])) == ["yeast", "human"]
    with pytest.raises(BundleError, match="a second bundle called 'yeast'"):
        name_bundles([tmp_path / "yeast/bundle", tmp_path / "other/yeast"])


def test_pages_load_nothing_from_elsewhere(client: TestClient) -> None:
    for path in ("/", "/docs"):
        answer = client.get(path)
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//|@import|url\(", answer.text)
    document = client.get("/openapi.json").text
    for reference in set(re.findall(r"#/components/schemas/(\w+)", document)):
        assert reference in json.loads(document)["components"]["schemas"]
