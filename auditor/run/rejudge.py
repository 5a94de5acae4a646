"""Judging stored trials again, with another judge or the same one."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from auditor.errors import BudgetReachedError, RunError, RunStoppedError
from auditor.judge import Judge, facts_from_events
from auditor.judge.model import UNJUDGED
from auditor.records import SealedEvent, SubmissionEvent, TrialKey, TrialStarted, Verdict
from auditor.run.judgements import JudgementFile
from auditor.run.store import load_run, read_events
from auditor.scenario.schema import Truth


@dataclass(slots=True)
class Rejudged:
    """What came of judging a run's trials again."""

    judged: int = 0
    """Trials with a new judgement."""
    already: int = 0
    """Trials that had one."""
    unsubmitted: int = 0
    """Trials without a seal or a submission: what is not finished may still change."""
    unreadable: int = 0
    """Among `judged`, those of which the judge gave no verdict."""
    dollars: float | None = 0.0
    """What asking a model cost; None once a price is not known."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why trials could not be judged, by trial."""

    @property
    def whole(self) -> bool:
        """Whether every submission is judged."""
        return not self.failed and not self.unreadable


def rejudge(
    run_dir: Path,
    trials: Sequence[Path],
    *,
    judge: Judge,
    file: JudgementFile,
    at_once: int = 1,
    on_judged: Callable[[TrialKey], None] = lambda key: None,
) -> Rejudged:
    """Judge trials that have no judgement yet, and append what is said.

    A trial that errored after its submission is judged like any other.

    Args:
        run_dir: Folder of the run.
        trials: Files of its trials.
        judge: Who judges; must bear being called from several threads when `at_once` is not 1.
        file: Where judgements go.
        at_once: Trials judged at the same time.
        on_judged: Told of each trial.

    Raises:
        UsageError: When the judge cannot judge these targets, or a key is missing.
        RunStoppedError: When a limit was reached, or the judge's server gives no reply to anybody;
            what was judged so far is kept.
        RunError: When a file cannot be read or written. What a provider fails at with one trial is
            not raised.
    """
    truths = {target.id: target.truth for target in load_run(run_dir).resolved.targets}
    done = Rejudged()
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        waiting: dict[Future[Verdict], TrialKey] = {}
        try:
            for key, job in _jobs(trials, truths, judge, file, done):
                waiting[pool.submit(job)] = key
                if len(waiting) >= 2 * at_once:
                    _collect(waiting, file, done, on_judged)
            while waiting:
                _collect(waiting, file, done, on_judged)
        except BaseException:
            # What is under way may be paid for already, so it is waited for and kept.
            pool.shutdown(wait=True, cancel_futures=True)
            _collect_finished(waiting, file, done, on_judged)
            raise
    return done


def _jobs(
    trials: Sequence[Path],
    truths: dict[str, Truth],
    judge: Judge,
    file: JudgementFile,
    done: Rejudged,
) -> Iterator[tuple[TrialKey, Callable[[], Verdict]]]:
    for path in trials:
        events = read_events(path)
        start = events[0] if events else None
        submissions = [event for event in events if isinstance(event, SubmissionEvent)]
        sealed = any(isinstance(event, SealedEvent) for event in events)
        if not isinstance(start, TrialStarted) or not submissions or not sealed:
            done.unsubmitted += 1
            continue
        key = start.key
        if key in file.there and not _gave_none(file.there[key].verdict):
            done.already += 1
            continue
        truth = truths.get(key.target)
        if truth is None:
            raise RunError(f"{path}: run.json knows no target {key.target!r}")
        facts = facts_from_events(events, truth)
        submission = submissions[-1].submission
        yield key, partial(judge.judge, submission, truth=truth, facts=facts)


def _collect(
    waiting: dict[Future[Verdict], TrialKey],
    file: JudgementFile,
    done: Rejudged,
    on_judged: Callable[[TrialKey], None],
) -> None:
    finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in finished:
        key = waiting.pop(future)
        try:
            verdict = future.result()
        except BudgetReachedError as reached:
            raise RunStoppedError(str(reached)) from reached
        except RunStoppedError:
            raise
        except RunError as error:
            done.failed[str(key)] = str(error)
            continue
        file.write(key, verdict)
        done.judged += 1
        done.unreadable += _gave_none(verdict)
        if verdict.ballots is not None:
            unknown = done.dollars is None or verdict.judge_dollars is None
            done.dollars = None if unknown else (done.dollars or 0) + (verdict.judge_dollars or 0)
        on_judged(key)


def _collect_finished(
    waiting: dict[Future[Verdict], TrialKey],
    file: JudgementFile,
    done: Rejudged,
    on_judged: Callable[[TrialKey], None],
) -> None:
    """Keep what came of the trials that were under way when something went wrong."""
    kept = {
        future: key
        for future, key in waiting.items()
        if not future.cancelled() and future.exception() is None
    }
    while kept:
        _collect(kept, file, done, on_judged)


def _gave_none(verdict: Verdict) -> bool:
    return not verdict.valid and (verdict.invalid_reason or "").startswith(UNJUDGED)
