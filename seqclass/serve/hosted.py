"""A bundle that is served: loaded, named, on its device, with the thread that works for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from http import HTTPStatus
from pathlib import Path

import numpy as np

from seqclass.attribution.attribute import ask
from seqclass.attribution.methods import METHODS
from seqclass.bundle import Bundle
from seqclass.errors import AssemblyError, BundleError
from seqclass.hub import is_address
from seqclass.onnx_file import OnnxModel, is_onnx
from seqclass.predict.judge import evaluating
from seqclass.predict.memory import batch_residues
from seqclass.predict.stretches import LengthPolicy
from seqclass.serve.batcher import Batcher, Observe
from seqclass.serve.limits import Limits
from seqclass.serve.problems import RequestError
from seqclass.serve.scoring import Piece, Vectors, pieces_of, score, vectors_of

# Residues of a sequence in which k-mers, too, find a place.
_WARM_UP = 100


class Hosted:
    """A bundle under a name, ready to answer.

    Args:
        name: As clients call it.
        bundle: Loaded from a folder.
        limits: Of requests.
        observe: Is told pieces, residues and seconds of every batch.

    Attributes:
        version: The bundle's.
        methods: Those of attribution that can be applied to the model.
        max_sequences: The most sequences, or windows of them, of a request.
    """

    def __init__(self, name: str, bundle: Bundle, limits: Limits, observe: Observe) -> None:
        self.name, self.bundle, self.limits = name, bundle, limits
        self.version = bundle.version
        self.methods = [method for method in METHODS if _applies(bundle, method)]
        self.max_sequences = max(1, min(limits.sequences, limits.values // len(bundle.targets)))
        self._placed = ExitStack()
        self.device = self._placed.enter_context(evaluating(bundle.model))
        most = limits.batch or batch_residues(self.device)
        work = partial(score, bundle, self.device)
        self.batcher = Batcher(name, work, most, self.max_sequences, limits.queue, observe)

    @property
    def kind(self) -> str:
        """What the model reads: "tokens", which are of letters, or "vectors"."""
        return self.bundle.model.input_kind

    def warm_up(self) -> None:
        """Predicts once, so that what takes long the first time is over before anyone waits."""
        length = self.bundle.length or self.bundle.window or _WARM_UP
        if self.kind == "tokens":
            unknown = np.full(length, self.bundle.alphabet.unknown_token, dtype=np.uint8)
        else:
            unknown = np.zeros((length, self.bundle.model.vector_size or 1), dtype=np.float32)
        score(self.bundle, self.device, [unknown])

    def start(self) -> None:
        """Begins to work, in the running event loop."""
        self.batcher.start()

    async def stop(self) -> None:
        """Ends the work; the model goes back to where it was."""
        await self.batcher.stop()
        self._placed.close()

    def pieces(self, named: Sequence[tuple[str, str | Vectors]], policy: LengthPolicy) -> list[Piece]:
        """What is scored of sequences or vectors.

        Raises:
            RequestError: There are none, or there is too much of them.
            SequenceError: One does not fit the model; it is named.
        """
        if not named:
            raise RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, "there are no sequences", remedy="Give at least one")
        self._refuse_many(len(named))
        letters = [(name, given) for name, given in named if isinstance(given, str)]
        vectors = [(name, given) for name, given in named if not isinstance(given, str)]
        if letters and vectors:
            raise RequestError(
                HTTPStatus.UNPROCESSABLE_ENTITY, "sequences and vectors in one request", remedy="Send one kind"
            )
        for name, given in named:
            if len(given) > self.limits.length:
                raise RequestError(
                    HTTPStatus.UNPROCESSABLE_ENTITY,
                    f"{len(given):,} residues, where a sequence may have {self.limits.length:,}",
                    remedy="Cut it into shorter ones",
                    record=f"record '{name}'",
                )
        return self._counted(pieces_of(self.bundle, letters, policy) if letters else vectors_of(self.bundle, vectors))

    def _counted(self, pieces: Iterable[Piece]) -> list[Piece]:
        counted: list[Piece] = []
        for piece in pieces:
            counted.append(piece)
            self._refuse_many(len(counted))
        return counted

    def _refuse_many(self, count: int) -> None:
        if count > self.max_sequences:
            raise RequestError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"more than {self.max_sequences:,} sequences, or windows of them, in one request",
                remedy="Send them in several requests",
            )


def name_bundles(paths: Sequence[str | Path]) -> dict[str, str | Path]:
    """Where bundles are, by name: their folder's, of a run's `bundle` the run's, or their ONNX file's.

    Raises:
        BundleError: Two have the same name.
    """
    named: dict[str, str | Path] = {}
    for path in paths:
        name = _name(path)
        if name in named:
            raise BundleError(
                f"a second bundle called '{name}', where each needs a name of its own",
                remedy="Rename its folder",
                file=path,
            )
        named[name] = path
    return named


def _name(path: str | Path) -> str:
    if is_address(str(path)):
        return str(path).rsplit("/", 1)[-1].split("@")[0]
    folder = Path(path).resolve()
    if is_onnx(folder):
        return folder.stem
    return folder.parent.name if folder.name == "bundle" and folder.parent.name else folder.name


def _applies(bundle: Bundle, method: str) -> bool:
    if bundle.model.input_kind != "tokens" or isinstance(bundle.model, OnnxModel):
        return False
    try:
        ask(bundle, 0, method=method)
    except AssemblyError:
        return False
    return True
