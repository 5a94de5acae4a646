"""Several servers on the loopback, some of which fail and come back."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from nla_core.backends import (
    BackendError,
    BackendUnavailableError,
    ReplicaBackend,
    ReplicaOptions,
    Replicas,
)
from nla_core.sampling import Generation, Sampling

Serve = Callable[..., Any]
Prompts = list[torch.Tensor]
QUICK = ReplicaOptions(first_check=0.02, longest_check=0.05, patience=0.3)
SAMPLING = Sampling(temperature=1, max_tokens=8)


def draw(backend: Any, prompts: Prompts) -> list[Generation]:
    seeds = list(range(100, 100 + len(prompts)))
    found: list[Generation] = backend.continue_embeddings(prompts, sampling=SAMPLING, seeds=seeds)
    return found


def until(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("did not come to hold")


def fail(server: Any) -> None:
    """Let a server answer 503 to everything."""
    server.answer = server.info = lambda *_: (503, {"error": {"message": "loading"}})


def heal(server: Any) -> None:
    del server.answer, server.info


@pytest.fixture
def many(prompts: Prompts) -> Prompts:
    return prompts * 6


@pytest.fixture
def three(kind: str, serve: Serve) -> list[Any]:
    return [serve(kind) for _ in range(3)]


@pytest.fixture
def backend(three: list[Any]) -> Any:
    made = ReplicaBackend([server.backend(attempts=1) for server in three], options=QUICK)
    yield made
    made.close()


def test_a_large_call_is_spread_and_comes_back_in_order(
    kind: str, serve: Serve, three: list[Any], backend: Any, many: Prompts
) -> None:
    backend.check()
    assert draw(backend, many) == draw(serve(kind).backend(), many)
    assert [server.n_posts for server in three] == [12, 12, 12]
    assert draw(backend, []) == []
    with pytest.raises(ValueError, match="need as many seeds"):
        backend.continue_embeddings(many, sampling=SAMPLING, seeds=[1])


def test_small_calls_take_turns(three: list[Any], backend: Any, prompts: Prompts) -> None:
    for _ in range(6):
        draw(backend, prompts[:2])
    assert [server.n_posts for server in three] == [4, 4, 4]


def test_the_work_of_a_server_that_fails_goes_to_the_others_until_it_is_back(
    kind: str, serve: Serve, three: list[Any], backend: Any, many: Prompts
) -> None:
    expected = draw(serve(kind).backend(), many)
    fail(three[1])
    assert draw(backend, many) == expected
    assert len(backend.healthy) == 2
    asked = three[1].n_posts
    assert draw(backend, many) == expected
    assert three[1].n_posts == asked
    heal(three[1])
    until(lambda: len(backend.healthy) == 3)
    assert draw(backend, many) == expected
    assert three[1].n_posts > asked


def test_a_refused_request_is_nobodys_fault_but_its_own(
    three: list[Any], backend: Any, prompts: Prompts
) -> None:
    for server in three:
        server.answer = lambda *_: (400, {"error": {"message": "too long"}})
    with pytest.raises(BackendError, match="too long"):
        draw(backend, prompts[:1])
    assert len(backend.healthy) == 3
    assert sum(server.n_posts for server in three) == 1


def test_when_all_are_out_the_last_failure_is_told_after_the_patience(
    three: list[Any], backend: Any, prompts: Prompts
) -> None:
    for server in three:
        fail(server)
    with pytest.raises(BackendUnavailableError, match=r"answered 503 \(loading\)"):
        draw(backend, prompts[:1])
    assert backend.healthy == ()


def test_when_all_are_out_a_request_waits_for_the_first_to_come_back(
    kind: str, serve: Serve, prompts: Prompts
) -> None:
    servers = [serve(kind), serve(kind)]
    for server in servers:
        fail(server)
    patient = ReplicaOptions(first_check=0.02, longest_check=0.05, patience=60)
    backend = ReplicaBackend([s.backend(attempts=1) for s in servers], options=patient)
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(draw, backend, prompts[:1])
        until(lambda: not backend.healthy)
        heal(servers[0])
        assert len(asked.result(20)) == 1
    backend.close()


def test_servers_are_checked_before_work(
    kind: str, serve: Serve, three: list[Any], backend: Any, prompts: Prompts
) -> None:
    fail(three[0])
    backend.check()
    assert len(backend.healthy) == 2
    draw(backend, prompts)
    three[2].info = lambda path: (200, {"disable_radix_cache": False, "data": []})
    with pytest.raises(BackendError, match=r"radix cache on|does not serve"):
        backend.check()
    fail(three[1])
    fail(three[2])
    with pytest.raises(BackendUnavailableError, match="503"):
        backend.check()


def test_threads_lose_nothing_while_servers_come_and_go() -> None:
    lock, ill, done = threading.Lock(), set[str](), Counter[str]()

    def check(name: str) -> None:
        with lock:
            if name in ill:
                raise ConnectionError(name)

    def work(name: str) -> str:
        check(name)
        with lock:
            done[name] += 1
            if sum(done.values()) % 10 == 0:
                # Another one falls ill and the first comes back, so that one is always well.
                ill.clear()
                ill.add("abc"[done.total() // 10 % 3])
        return name

    replicas = Replicas(
        ["a", "b", "c"],
        check=check,
        failures=(ConnectionError,),
        options=ReplicaOptions(first_check=0.001, longest_check=0.005, patience=20),
    )
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda _: replicas.call(work), range(400)))
    replicas.close()
    assert len(found) == 400
    assert Counter(found) == done
    assert min(done.values()) > 20


def test_there_must_be_a_server() -> None:
    with pytest.raises(ValueError, match="at least one server"):
        ReplicaBackend([])
