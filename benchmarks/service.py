"""The service under load, against the bare model: requests/s, latency, memory, and whether every answer is right.

One server process on the loopback serves `wrn_transformer_xl` (39 M parameters, random weights, 1,000 bp). Clients,
each a thread of one other process, send one sequence a request, as fast as they are answered, and compare each answer
with the offline prediction. The bare model's rate is that of batches of as many sequences as there are clients, at most
32, in a process that does nothing else. The two take turns, as other jobs may run on the machine.

Both run on the same cores, so the time that the clients spend on the CPU is counted out:

    of bare       requests / (seconds - clients' CPU seconds / cores), of the bare model's sequences / s
    CPU of bare   the bare model's CPU seconds a sequence, of the server's a request; other jobs hardly matter to it
    busy          the share of the time in which the model was at work

Then 10,000 requests go to a small model, and the server's memory is read before and after.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from seqclass.bundle import Bundle
from seqclass.models import create_model
from seqclass.predict import evaluating, predict, score_tokens
from seqclass.targets import Target

LENGTH, SEQUENCES = 1000, 64
TOLERANCE = 1e-5
SMALL = {"channels": 8, "widths": (8, 16), "strides": (4, 4), "expansion": 1, "layers": 1, "hidden": 8}
SMALL |= {"heads": 2, "head_size": 4, "inner": 16}


class Rate(NamedTuple):
    """Sequences a second of the clock, and CPU seconds a sequence."""

    wall: float
    cpu: float


class Load(NamedTuple):
    """What clients saw: seconds that each request took, the rate without the clients' own time, the model's share of
    the time, the largest error."""

    latencies: list[float]
    rate: Rate
    busy: float
    error: float


def make_bundle(folder: Path, **options: object) -> Bundle:
    targets = [Target(f"t{i}") for i in range(919)]
    model = create_model("wrn_transformer_xl", num_targets=len(targets), length=LENGTH, **options)
    Bundle(model.eval(), targets, [1] * len(targets), LENGTH, 200).save(folder)
    return Bundle.load(folder)


class Server:
    """`seqclass serve` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        words = [sys.executable, "-m", "seqclass", "serve", str(folder), "--port", "0"]
        self.process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        self.port = int(re.search(r":(\d+)/", self.process.stderr.readline())[1])

    def cpu(self) -> float:
        """CPU seconds that it has taken."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def worked(self) -> float:
        """Seconds that the model was at work."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        return sum(map(float, re.findall(r"^seqclass_model_seconds_total\S* (\S+)", text, re.MULTILINE)))

    def memory(self) -> float:
        """Its memory, in MB."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        code = self.process.wait()
        assert code == 0, f"exit code {code} after SIGTERM"


def bare_rate(bundle: Bundle, batch: int, seconds: float) -> Rate:
    """The model alone, in batches of so many."""
    tokens = list(np.random.default_rng(0).integers(0, 4, (batch, LENGTH)).astype(np.uint8))
    with evaluating(bundle.model) as device:
        score_tokens(tokens, bundle, device, lambda done=1: None)
        began, spent, done = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() < began + seconds:
            score_tokens(tokens, bundle, device, lambda done=1: None)
            done += batch
        return Rate(done / (time.perf_counter() - began), (time.process_time() - spent) / done)


def load(
    server: Server, expected: list[dict[str, float]], letters: list[str], clients: int, seconds: float, most: float
) -> Load:
    """Requests of so many clients at once, for so long or until there are so many of them."""
    latencies: list[float] = []
    errors: list[float] = []
    bodies = [json.dumps({"inputs": [each], "parameters": {"top_k": 5}}) for each in letters]
    end = time.perf_counter() + seconds

    def client(number: int) -> None:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=120)
        while time.perf_counter() < end and len(latencies) < most:
            number = (number + 1) % SEQUENCES
            began = time.perf_counter()
            connection.request("POST", "/predict", bodies[number], {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = answer.read()
            latencies.append(time.perf_counter() - began)
            assert answer.status == 200, body
            for label in json.loads(body)["predictions"][0]["top"]:
                errors.append(abs(label["probability"] - expected[number][label["label"]]))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    worked = server.worked()
    began, ours, theirs = time.perf_counter(), time.process_time(), server.cpu()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    count, spent, seconds = len(latencies), time.process_time() - ours, time.perf_counter() - began
    wall, cpu = count / (seconds - spent / len(os.sched_getaffinity(0))), (server.cpu() - theirs) / count
    assert len(errors) == 5 * count
    return Load(latencies, Rate(wall, cpu), (server.worked() - worked) / seconds, max(errors))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=2, help="of measurements; medians are shown")
    parser.add_argument("--requests", type=int, default=10_000, help="of the measurement of memory")
    options = parser.parse_args()
    torch.manual_seed(0)
    letters = ["".join(row) for row in np.random.default_rng(1).choice(list("ACGT"), (SEQUENCES, LENGTH))]
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(Path(folder) / "large")
        expected = [one.scores for one in predict(bundle, letters)]
        parameters = sum(each.numel() for each in bundle.model.parameters())
        cores = len(os.sched_getaffinity(0))
        print(f"{parameters:,} parameters, {LENGTH:,} bp, {cores} cores, {torch.get_num_threads()} threads", flush=True)
        bare, served = defaultdict(list), defaultdict(list)
        with Server(Path(folder) / "large") as server:
            load(server, expected, letters, 8, 2, 1e9)
            for _ in range(options.rounds):
                for clients in (1, 8, 64):
                    bare[clients].append(bare_rate(bundle, min(clients, 32), options.seconds))
                    served[clients].append(load(server, expected, letters, clients, options.seconds, 1e9))
        print("clients  requests/s  bare/s  of bare  CPU of bare  busy  p50 ms  p95 ms  p99 ms  largest error")
        for clients, loads in served.items():
            alone = bare[clients]
            of_bare = np.median([one.rate.wall / other.wall for one, other in zip(loads, alone, strict=True)])
            of_cpu = np.median([other.cpu / one.rate.cpu for one, other in zip(loads, alone, strict=True)])
            rates = [np.median([one.rate.wall for one in loads]), np.median([one.wall for one in alone])]
            times = np.percentile(np.concatenate([one.latencies for one in loads]), (50, 95, 99)) * 1000
            busy, error = np.median([one.busy for one in loads]), max(one.error for one in loads)
            assert error <= TOLERANCE, error
            print(
                f"{clients:>7}{rates[0]:>12.1f}{rates[1]:>8.1f}{of_bare:>9.0%}{of_cpu:>13.0%}"
                f"{busy:>6.0%}{times[0]:>8.0f}{times[1]:>8.0f}{times[2]:>8.0f}{error:>15.1e}"
            )
        small = make_bundle(Path(folder) / "small", **SMALL)
        expected = [one.scores for one in predict(small, letters)]
        with Server(Path(folder) / "small") as server:
            load(server, expected, letters, 8, 600, options.requests // 5)
            before = server.memory()
            count = len(load(server, expected, letters, 8, 600, options.requests).latencies)
            after = server.memory()
            print(f"memory of a server of a small model: {before:.0f} MB, after {count:,} requests {after:.0f} MB")


if __name__ == "__main__":
    main()
