"""Photographs the page of the service for docs/serving.md, with the model and the genome that `make demo` makes.

python tests/photograph_page.py runs/demo/bundle runs/demo-data/raw docs/pictures
"""

from __future__ import annotations

import csv
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from browser import Browser, browser

from seqclass.bundle import Bundle
from seqclass.data.fasta import read_fasta
from seqclass.serve.app import create_app

WINDOW = 200


def windows(raw: Path, each: int) -> str:
    """FASTA of windows around planted motifs of the chromosome that the model was tested on, so many a target."""
    letters = {record.name: record.letters.decode() for record in read_fasta(raw / "genome.fa")}["chr6"]
    found: dict[str, list[str]] = {}
    with open(raw / "plants.tsv", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            start = int(row["start"]) - WINDOW // 2
            if row["chrom"] == "chr6" and row["target"] and start > 0:
                name = f"chr6_{start}_{row['target']}"
                found.setdefault(row["target"], []).append(f">{name}\n{letters[start : start + WINDOW]}\n")
    return "".join("".join(records[:each]) for records in reversed(found.values()))


@contextmanager
def served(bundle: Bundle) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(create_app({"demo": bundle}), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        server.should_exit = True
        thread.join()


def click(tab: Browser, id: str) -> None:
    tab.run(f"document.getElementById('{id}').click()")


def paste(tab: Browser, fasta: str) -> None:
    tab.wait("!document.getElementById('predict').disabled && document.getElementById('about').textContent")
    tab.run("document.getElementById('sequences').focus()")
    tab.type(fasta)
    tab.run("document.getElementById('sequences').scrollTop = 0")


def explain(tab: Browser, fasta: str) -> None:
    paste(tab, fasta)
    click(tab, "predict")
    tab.wait("document.querySelectorAll('.bar').length > 0")
    tab.run("document.getElementById('method').value = 'hirescam'")
    click(tab, "explain")
    tab.wait("document.querySelector('#picture svg')")
    tab.run("document.activeElement.blur()")


def send_job(tab: Browser, fasta: str) -> None:
    paste(tab, fasta)
    click(tab, "send-job")
    tab.wait("document.getElementById('job-status').textContent.startsWith('Done')")
    click(tab, "job-plot")
    tab.wait("document.getElementById('job-picture').naturalWidth > 0")
    tab.wait("document.getElementById('job-status').textContent.startsWith('Done')")
    tab.run("document.activeElement.blur()")


def main() -> None:
    bundle, raw, folder = Bundle.load(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    fasta = windows(raw, 1)
    # A browser that has ended may still be writing.
    profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with profile, browser(Path(profile.name)) as tab, served(bundle) as address:
        tab.open(address)
        explain(tab, fasta)
        tab.photograph(folder / "service-page.png")
        tab.open(f"{address}?phone", width=390, height=844, dark=True)
        explain(tab, fasta)
        tab.photograph(folder / "service-page-phone-dark.png")
        tab.open(f"{address}?job")
        send_job(tab, windows(raw, 30))
        tab.photograph(folder / "service-page-job.png")


if __name__ == "__main__":
    main()
