"""How much one client, and all of them together, may ask of the service."""

from __future__ import annotations

from dataclasses import dataclass

from seqclass.errors import SeqclassError


@dataclass(frozen=True)
class Limits:
    """Bounds of the service; a request beyond one is refused before the model sees it.

    Args:
        body: Bytes of a request's body.
        sequences: Sequences of a request, each window of one counted.
        length: Residues of a sequence.
        values: Probabilities of a request, sequences times targets.
        queue: Residues that may wait for a model; a request finds room if nothing waits, however large it is.
        batch: Residues that are scored at once; None for 32,768 on a CPU and 262,144 on a GPU.
        explained: Residues that an explanation may send through the model, all steps and references counted.
        timeout: Seconds in which a request is received, and again in which it is answered; of a job's file, seconds in
            which each MiB is received.
        upload: Bytes of a job's file, as it comes and once it is unpacked.
        jobs: How many may wait.
        keep_days: After so many days a job that has ended is forgotten.

    Raises:
        SeqclassError: One is not above 0.
    """

    body: int = 16 << 20
    sequences: int = 4096
    length: int = 100_000
    values: int = 1 << 22
    queue: int = 1 << 23
    batch: int | None = None
    explained: int = 1 << 22
    timeout: float = 60.0
    upload: int = 1 << 30
    jobs: int = 32
    keep_days: float = 7.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and value <= 0:
                raise SeqclassError(f"the limit '{name}' is {value}", remedy="Choose a number above 0")
