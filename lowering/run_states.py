"""The states of a stored run, read back, and which of two runs' states are the same.

Two states are the same where their texts are, by the digests in the records, or else where their normal forms are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lowering import mlir
from lowering.core import PassError, UserError
from lowering.normal import normal_digest
from lowering.store import Record, read_record


@dataclass(frozen=True)
class State:
    """What a pass left behind; `key` is equal for states that are the same. A pass that failed left no file."""

    index: int
    text: str  # the pass's
    digest: str
    file: str
    key: str
    failure: str = ""


@dataclass(frozen=True)
class Run:
    """A run's folder, its record and its states, the last one being that of the pass that failed, if one did."""

    folder: Path
    record: Record
    states: tuple[State, ...]


def load(folder: Path) -> Run:
    """The run of a folder. Raises UserError where its record is damaged, or no state was written."""
    record = read_record(folder)
    if not record.stages:
        raise UserError(f"'{folder}' has no states: {record.failure.reason if record.failure else record.outcome}")
    states = [State(s.index, s.text, s.digest, s.file, s.digest) for s in record.stages]
    failed = record.failure
    if failed and failed.step is not None:
        why = f"{failed.kind}: {failed.reason}"
        states.append(State(failed.step, failed.pass_text, "", "", f"{states[-1].key}: {failed.pass_text}: {why}", why))
    return Run(folder, record, tuple(states))


def by_text(run: Run) -> Run:
    """The run with its passes' texts for keys."""
    return replace(run, states=tuple(replace(s, key=f"{s.text}: {s.failure}") for s in run.states))


def with_keys(a: Run, b: Run) -> tuple[Run, Run]:
    """Both runs, where a state whose text is not in the other run has its normal form's digest for a key."""
    alone = {s.digest for s in a.states} ^ {s.digest for s in b.states}

    def keyed(run: Run) -> Run:
        known = {s.digest: normal(run, s) for s in run.states if s.file and s.digest in alone}
        return replace(run, states=tuple(replace(s, key=known.get(s.digest, s.key)) for s in run.states))

    return keyed(a), keyed(b)


def normal(run: Run, state: State) -> str:
    """The digest of a state's normal form, or of its text where the file is not the run's own or does not parse."""
    text = read(run, state)
    try:
        return normal_digest(mlir.parse(text)) if mlir.digest(text) == state.digest else state.digest
    except PassError:  # a state that another MLIR wrote
        return state.digest


def read(run: Run, state: State) -> str:
    """A state's text. Raises UserError that names what is gone."""
    try:
        return (run.folder / state.file).read_text()
    except FileNotFoundError:
        gone = [s.file for s in run.states if s.file and not (run.folder / s.file).is_file()]
        named = ", ".join(gone[:3]) + (f" and {len(gone) - 3} more" if len(gone) > 3 else "")
        again = f": `{run.record.command}` makes a new run with all of them" if run.record.command else ""
        raise UserError(f"the folder '{run.folder}' lacks states that its record names, {named}{again}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read '{run.folder / state.file}': {error}") from None


def edited(run: Run, changed: set[int]) -> Iterator[str]:
    """The files that were read for the diffs of some steps, and are no longer what the run wrote."""
    for state, following in zip(run.states, (*run.states[1:], None), strict=True):
        used = state.index in changed or (following and following.index in changed)
        if used and state.file and mlir.digest(read(run, state)) != state.digest:
            yield f"{run.folder / state.file} was changed after the run, and is compared as it is now"
