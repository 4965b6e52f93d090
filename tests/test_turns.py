"""Long runs beside others: each batch has its turn, and whoever watches is told how far the run is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from seqclass.bundle import Bundle
from seqclass.predict import memory, predict, write_predictions
from seqclass.predict.turns import in_turn, taking_turns
from seqclass.progress import progress, watched

SEQUENCES = ["ACGTTGCA" * 8 for _ in range(3)] + ["TTGACA" * 10 + f"{'ACGT'[i % 4]}CGT" for i in range(4)]


def test_batches_go_through_the_model_in_another_thread_with_the_same_numbers(
    make_bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, whole, threads = make_bundle(), memory.judge, []
    monkeypatch.setattr(memory, "batch_residues", lambda _: 128)
    expected = [one.scores for one in predict(bundle, SEQUENCES)]

    def judge(bundle: Bundle, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> object:
        threads.append((threading.current_thread().name, len(inputs)))
        if len(inputs) > 1:
            raise torch.OutOfMemoryError
        return whole(bundle, inputs, mask)

    monkeypatch.setattr(memory, "judge", judge)
    model = ThreadPoolExecutor(1, thread_name_prefix="model")
    with model, taking_turns(lambda work: model.submit(work).result()):
        found = [one.scores for one in predict(bundle, SEQUENCES)]
    assert found == [pytest.approx(scores, abs=1e-6) for scores in expected]
    assert {name for name, _ in threads} == {"model_0"}
    # A batch that was too large is halved all the same.
    assert {size for _, size in threads} == {1, 2}


def test_outside_of_turns_work_is_done_at_once() -> None:
    with pytest.raises(ZeroDivisionError), taking_turns(lambda work: 1 // 0):
        in_turn(lambda: 7)
    assert in_turn(lambda: threading.current_thread()) is threading.current_thread()


def test_who_watches_is_told_in_place_of_a_bar_and_can_end_the_run(
    make_bundle: Callable[..., Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, file = make_bundle(), tmp_path / "in.fasta"
    file.write_text("".join(f">s{i}\n{letters}\n" for i, letters in enumerate(SEQUENCES)))
    monkeypatch.setattr(memory, "batch_residues", lambda _: 128)
    told: list[tuple[str, float, float | None]] = []
    with watched(lambda *given: told.append(given)):
        write_predictions(bundle, file, tmp_path / "out.csv")
    assert list(dict.fromkeys(what for what, _, _ in told)) == ["Reading sequences", "Predicting", "Writing"]
    scored = [done for what, done, total in told if (what, total) == ("Predicting", 7)]
    assert scored == sorted(scored)
    assert scored[-1] == pytest.approx(7)

    def enough(what: str, done: float, _: float | None) -> None:
        if what == "Predicting" and done > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), watched(enough):
        write_predictions(bundle, file, tmp_path / "other.csv")
    assert not (tmp_path / "other.csv").exists()
    with progress("Alone", 2) as advance:
        advance(2)
    assert "Alone" not in {what for what, _, _ in told}
