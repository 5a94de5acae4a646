"""Runs and trials by what a person types."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from auditor.errors import UsageError
from auditor.run.listing import run_dirs, trial_files
from auditor.run.store import RUN_FILE, TRIALS_FOLDER

LAST = "last"
_MOST_NAMED = 5


def find_run(text: str, runs_dir: Path) -> Path:
    """Return the folder of a run given by name, by path, or as `last`.

    Raises:
        UsageError: When there is no such run; the message names the nearest ones.
    """
    known = run_dirs(runs_dir)
    if text == LAST and known:
        return max(known, key=lambda folder: (folder / RUN_FILE).stat().st_mtime_ns)
    for folder in (runs_dir / text, Path(text)):
        if text and (folder / RUN_FILE).is_file():
            return folder.resolve() if folder.name in ("", ".", "..") else folder
    if not known:
        raise UsageError(
            f"no run {text!r}: {runs_dir} holds no runs; start one with `auditor run sandbox`"
        )
    names = [folder.name for folder in known]
    raise UsageError(f"no run {text!r} in {runs_dir}: {_nearest(text, names)}")


def find_run_folder(text: str, runs_dir: Path) -> Path:
    """Return the folder of a run, which may lack its `run.json`.

    Raises:
        UsageError: When there is no such run; the message names the nearest ones.
    """
    for folder in (runs_dir / text, Path(text)):
        if text and (folder / TRIALS_FOLDER).is_dir():
            return folder.resolve()
    return find_run(text, runs_dir)


def find_trial(text: str, run_dir: Path) -> Path:
    """Return the record of a trial given by key, stem, number in the list, or unique prefix.

    Raises:
        UsageError: When no trial or more than one fits.
    """
    files = trial_files(run_dir)
    stems = [path.stem for path in files]
    if not files:
        raise UsageError(f"run {run_dir.name} has no trials yet")
    wanted = _stem(text, run_dir.name)
    if wanted in stems:
        return files[stems.index(wanted)]
    if re.fullmatch(r"[0-9]{1,9}", text):
        if 1 <= int(text) <= len(files):
            return files[int(text) - 1]
        raise UsageError(f"no trial {text}: run {run_dir.name} has trials 1 to {len(files)}")
    fitting = [path for path in files if text and path.stem.startswith(wanted)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        some = _listed([path.stem for path in fitting])
        raise UsageError(f"{text!r} fits {len(fitting)} trials of run {run_dir.name}: {some}")
    raise UsageError(f"no trial {text!r} in run {run_dir.name}: {_nearest(wanted, stems)}")


def _stem(text: str, run: str) -> str:
    """Turn the string form of a key, with or without the run, into a stem."""
    parts = text.removeprefix(f"{run}/").removesuffix(".jsonl").split("/")
    return "__".join(parts)


def _nearest(text: str, names: Sequence[str]) -> str:
    text = text[:200]
    near = difflib.get_close_matches(text, names, n=3, cutoff=0.5)
    if not near and text:
        # The start of a name with a slip in it.
        starts = {name[: len(text)]: name for name in reversed(names)}
        near = [starts[start] for start in difflib.get_close_matches(text, starts, cutoff=0.8)]
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"there are {_listed(names)}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
