"""The queue alone, with work that is easy to see through."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.target.batching import BatchQueue, QueueClosedError


class Worker:
    """Squares numbers; records its batches and can be held up."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.begun = threading.Event()
        self.gate.set()

    def __call__(self, rows: Sequence[int]) -> list[int]:
        self.begun.set()
        assert self.gate.wait(20)
        self.batches.append(list(rows))
        if any(row < 0 for row in rows):
            raise ValueError(f"negative: {[row for row in rows if row < 0]}")
        return [row * row for row in rows]


@pytest.fixture
def worker() -> Worker:
    return Worker()


def held(queue: BatchQueue, worker: Worker) -> Any:
    """Occupy the queue with a first request until `worker.gate` is set."""
    worker.gate.clear()
    first = queue.submit("first", [0], worker)
    assert worker.begun.wait(20)
    return first


def test_requests_that_came_during_a_batch_run_as_one(worker: Worker) -> None:
    queue = BatchQueue(window=0)
    first = held(queue, worker)
    futures = [queue.submit("k", [n, n + 10], worker) for n in range(5)]
    worker.gate.set()
    assert [list(future.result(20)) for future in futures] == [
        [n * n, (n + 10) ** 2] for n in range(5)
    ]
    assert list(first.result(20)) == [0]
    assert worker.batches == [[0], [0, 10, 1, 11, 2, 12, 3, 13, 4, 14]]
    assert (queue.counts.requests, queue.counts.batches, queue.counts.rows) == (6, 2, 11)


def test_an_idle_queue_waits_a_moment_for_company(worker: Worker) -> None:
    queue = BatchQueue(window=30)
    # Not until the window is over: until there are rows enough.
    futures = [queue.submit("k", [n], worker, max_rows=3) for n in range(3)]
    assert [list(future.result(20)) for future in futures] == [[0], [1], [4]]
    assert worker.batches == [[0, 1, 2]]


def test_only_requests_of_one_key_run_together_and_the_oldest_goes_first(worker: Worker) -> None:
    queue = BatchQueue(window=0)
    held(queue, worker)
    futures = [queue.submit(key, [n], worker) for n, key in enumerate("abacb")]
    worker.gate.set()
    for future in futures:
        future.result(20)
    assert worker.batches == [[0], [0, 2], [1, 4], [3]]


def test_a_batch_takes_no_more_rows_than_it_may_and_a_large_request_runs_alone(
    worker: Worker,
) -> None:
    queue = BatchQueue(window=0)
    held(queue, worker)
    sizes = [3, 2, 9, 1]
    futures = [queue.submit("k", [1] * size, worker, max_rows=4) for size in sizes]
    worker.gate.set()
    assert [len(future.result(20)) for future in futures] == sizes
    assert [len(batch) for batch in worker.batches] == [1, 4, 2, 9]


def test_an_error_reaches_only_the_request_that_caused_it(worker: Worker) -> None:
    queue = BatchQueue(window=0)
    held(queue, worker)
    futures = [queue.submit("k", rows, worker) for rows in ([1, 2], [3, -4], [5])]
    worker.gate.set()
    assert list(futures[0].result(20)) == [1, 4]
    assert list(futures[2].result(20)) == [25]
    with pytest.raises(ValueError, match=r"negative: \[-4\]"):
        futures[1].result(20)
    assert queue.counts.alone == 3
    assert list(queue.run("k", [6], worker)) == [36]


def test_work_that_loses_rows_is_an_error(worker: Worker) -> None:
    queue = BatchQueue(window=0)
    with pytest.raises(RuntimeError, match="2 rows gave 1 results"):
        queue.run("k", [1, 2], lambda rows: [1])


def test_a_request_that_is_cancelled_in_time_never_runs(worker: Worker) -> None:
    queue = BatchQueue(window=0)
    held(queue, worker)
    kept, dropped = queue.submit("k", [1], worker), queue.submit("k", [2], worker)
    assert dropped.cancel()
    worker.gate.set()
    assert list(kept.result(20)) == [1]
    assert worker.batches == [[0], [1]]


def test_closing_turns_away_those_who_wait_and_finishes_what_runs(worker: Worker) -> None:
    queue = BatchQueue(window=0)
    first = held(queue, worker)
    waiting = queue.submit("k", [1], worker)
    queue.close()
    with pytest.raises(QueueClosedError):
        waiting.result(20)
    with pytest.raises(QueueClosedError):
        queue.submit("k", [2], worker)
    worker.gate.set()
    assert list(first.result(20)) == [0]
    assert worker.batches == [[0]]


def test_no_rows_need_no_queue(worker: Worker) -> None:
    assert list(BatchQueue().run("k", [], worker)) == []


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.lists(st.integers(-3, 50), max_size=6))),
    st.integers(1, 12),
)
def test_everyone_gets_their_own_results_whatever_they_were_batched_with(
    requests: list[tuple[str, list[int]]], max_rows: int
) -> None:
    queue, worker = BatchQueue(window=0.001), Worker()

    def ask(request: tuple[str, list[int]]) -> list[int] | str:
        try:
            return list(queue.run(request[0], request[1], worker, max_rows=max_rows))
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(ask, requests))
    queue.close()
    for (_, rows), got in zip(requests, found, strict=True):
        bad = [row for row in rows if row < 0]
        assert got == (f"negative: {bad}" if bad else [row * row for row in rows])
