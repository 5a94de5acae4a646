"""Which runs and which trials there are on disk, in the order in which a person counts them."""

from pathlib import Path

from auditor.run.store import RUN_FILE, TRIALS_FOLDER


def trial_files(run_dir: Path) -> list[Path]:
    """Return the records of a run's trials, by target, tool set and number."""
    return sorted((run_dir / TRIALS_FOLDER).glob("*.jsonl"), key=lambda path: order(path.stem))


def order(stem: str) -> tuple[str, int]:
    """Return a sort key that puts trial 10 of a target after trial 9."""
    name, _, number = stem.rpartition("__")
    return (name, int(number)) if number.isdecimal() else (stem, 0)


def run_dirs(runs_dir: Path) -> list[Path]:
    """Folders of all runs, by name."""
    return sorted(path.parent for path in runs_dir.glob(f"*/{RUN_FILE}"))
