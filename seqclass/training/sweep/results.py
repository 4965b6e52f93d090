"""What a study has come to: a line a trial, the table of all, and the best of them."""

from __future__ import annotations

from pathlib import Path

from optuna import Study
from optuna.trial import FrozenTrial, TrialState
from rich.box import SIMPLE_HEAD
from rich.table import Table

from seqclass.atomic import write_text
from seqclass.training.reporting import duration
from seqclass.training.sweep.storage import REASON, was_tried

_MOST_SHOWN = 10


def best_of(study: Study) -> FrozenTrial | None:
    """The completed trial with the largest metric, and of several the first; None if none was completed."""
    ranked = _ranked(study)
    return ranked[0] if ranked else None


def sentence(study: Study, trial: FrozenTrial, metric: str) -> str:
    """How a trial ended, with the values that it tried."""
    parts = [f"trial {trial.number}", _outcome(trial, metric)]
    best = best_of(study)
    if best is not None:
        parts.append(f"best {best.value:.4f} (trial {best.number})")
    if trial.duration is not None:
        parts.append(duration(trial.duration.total_seconds()))
    parts += [f"{option} {_text(value)}" for option, value in trial.params.items()]
    return "  ".join(parts)


def write_table(study: Study, file: Path) -> None:
    """Writes all trials as a table (TSV): number, state, value, validations, seconds, options, reason of a failure."""
    trials = study.get_trials(deepcopy=False)
    options = list(dict.fromkeys(option for trial in trials for option in trial.params))
    rows = [["trial", "state", "value", "validations", "seconds", *options, REASON]]
    for trial in trials:
        rows.append(
            [
                str(trial.number),
                _state(trial),
                "" if trial.value is None else repr(trial.value),
                str(trial.user_attrs.get("validations", "")),
                "" if trial.duration is None else f"{trial.duration.total_seconds():.1f}",
                *(str(trial.params.get(option, "")) for option in options),
                str(trial.user_attrs.get(REASON, "")),
            ]
        )
    write_text(file, "".join("\t".join(row) + "\n" for row in rows), force=True)


def final_table(study: Study, metric: str) -> Table:
    """The best trials, and below how many ended in which way."""
    ranked = _ranked(study)[:_MOST_SHOWN]
    options = list(ranked[0].params)
    states = [_state(trial) for trial in study.get_trials(deepcopy=False)]
    counts = ", ".join(f"{states.count(state):,} {state}" for state in dict.fromkeys(states))
    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False, caption=counts, caption_justify="left")
    for title in ("trial", metric.removeprefix("valid/").replace("_", " "), *options):
        table.add_column(title, justify="right", overflow="fold")
    for trial in ranked:
        table.add_row(str(trial.number), f"{trial.value:.4f}", *(_text(trial.params[option]) for option in options))
    return table


def _ranked(study: Study) -> list[FrozenTrial]:
    completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted(completed, key=lambda trial: (-(trial.value or 0.0), trial.number))


def _outcome(trial: FrozenTrial, metric: str) -> str:
    if trial.state is TrialState.FAIL:
        return f"failed: {trial.user_attrs.get(REASON, 'stopped')}"
    name = metric.removeprefix("valid/").replace("_", " ")
    if trial.state is TrialState.PRUNED:
        reached = trial.intermediate_values
        validations = "a validation" if len(reached) == 1 else f"{len(reached)} validations"
        return f"pruned after {validations}, at {name} {reached[max(reached)]:.4f}"
    return f"{name} {trial.value:.4f}"


def _state(trial: FrozenTrial) -> str:
    if trial.state is TrialState.FAIL and not was_tried(trial):
        return "stopped"
    return {TrialState.COMPLETE: "completed", TrialState.FAIL: "failed"}.get(trial.state, trial.state.name.lower())


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
