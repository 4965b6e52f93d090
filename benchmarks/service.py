"""The service under load, against the bare model: requests/s, latency, memory.

One server process on the loopback serves `wrn_transformer_xl` (39 M parameters, random weights, 1,000 bp). Clients,
each a thread of one other process, send one sequence a request, as fast as they are answered. The bare model's rate is
that of batches in a process that does nothing else. Both run on the same cores, so the time that the clients' process
spent on the CPU is counted out: rate = requests / (seconds - clients' CPU seconds / cores).

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
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import torch

from seqclass.bundle import Bundle
from seqclass.models import create_model
from seqclass.predict.judge import evaluating
from seqclass.predict.scoring import score_tokens
from seqclass.targets import Target

LENGTH = 1000


def make_bundle(folder: Path, **options: object) -> Bundle:
    targets = [Target(f"t{i}") for i in range(919)]
    model = create_model("wrn_transformer_xl", num_targets=len(targets), length=LENGTH, **options)
    Bundle(model.eval(), targets, [1] * len(targets), LENGTH, 200).save(folder)
    return Bundle.load(folder)


def start_server(folder: Path) -> tuple[subprocess.Popen[str], int]:
    words = [sys.executable, "-c", "from seqclass.cli import main; main()", "serve", str(folder), "--port", "0"]
    server = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    line = server.stderr.readline()
    port = int(re.search(r":(\d+)/", line)[1])
    while True:
        connection = HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/health/ready")
        if connection.getresponse().status == 200:
            return server, port
        time.sleep(0.1)


def bare_rate(bundle: Bundle, batch: int, seconds: float) -> float:
    """Sequences/s of the model alone, in batches of so many."""
    tokens = list(np.random.default_rng(0).integers(0, 4, (batch, LENGTH)).astype(np.uint8))
    done, best = 0, 0.0
    with evaluating(bundle.model) as device:
        score_tokens(tokens, bundle, device, lambda done=1: None)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            began = time.perf_counter()
            score_tokens(tokens, bundle, device, lambda done=1: None)
            best = max(best, batch / (time.perf_counter() - began))
            done += batch
    return best


def load(port: int, clients: int, seconds: float, requests: int | None = None) -> tuple[list[float], float, float]:
    """Latencies of all requests, the seconds they took, and the CPU seconds that the clients took of them."""
    latencies: list[float] = []
    sequences = ["".join(row) for row in np.random.default_rng(1).choice(list("ACGT"), (64, LENGTH))]
    bodies = [json.dumps({"inputs": [letters], "parameters": {"top_k": 5}}) for letters in sequences]
    end = time.perf_counter() + seconds

    def client(number: int) -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=120)
        while time.perf_counter() < end and (requests is None or len(latencies) < requests):
            began = time.perf_counter()
            connection.request("POST", "/predict", bodies[number % 64], {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
            latencies.append(time.perf_counter() - began)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    began, spent = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return latencies, time.perf_counter() - began, time.process_time() - spent


def resident(process: subprocess.Popen[str]) -> float:
    """Memory of a process, in MB."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15, help="of each measurement")
    parser.add_argument("--requests", type=int, default=10_000, help="of the measurement of memory")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(Path(folder) / "large")
        parameters = sum(each.numel() for each in bundle.model.parameters())
        print(f"{parameters:,} parameters, {LENGTH:,} bp, {cores} cores, {torch.get_num_threads()} threads")
        bare = {clients: bare_rate(bundle, min(clients, 32), options.seconds) for clients in (1, 8, 64)}
        server, port = start_server(Path(folder) / "large")
        try:
            load(port, 8, 2)
            print(f"{'clients':>8}{'requests/s':>12}{'of bare':>9}{'bare/s':>8}{'p50 ms':>8}{'p95 ms':>8}{'p99 ms':>8}")
            for clients, alone in bare.items():
                latencies, seconds, spent = load(port, clients, options.seconds)
                rate = len(latencies) / (seconds - spent / cores)
                p50, p95, p99 = (1000 * np.percentile(latencies, share) for share in (50, 95, 99))
                print(f"{clients:>8}{rate:>12.1f}{rate / alone:>9.0%}{alone:>8.1f}{p50:>8.0f}{p95:>8.0f}{p99:>8.0f}")
        finally:
            server.terminate()
            print(f"exit code after SIGTERM: {server.wait()}")
        small = {"channels": 8, "widths": (8, 16), "strides": (4, 4), "expansion": 1, "layers": 1, "hidden": 8}
        make_bundle(Path(folder) / "small", heads=2, head_size=4, inner=16, **small)
        server, port = start_server(Path(folder) / "small")
        try:
            load(port, 8, 600, options.requests // 5)
            before = resident(server)
            count = len(load(port, 8, 600, options.requests)[0])
            after = resident(server)
            print(f"memory of a server of a small model: {before:.0f} MB, after {count:,} requests {after:.0f} MB")
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
