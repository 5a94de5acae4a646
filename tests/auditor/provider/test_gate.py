"""One limit for everybody who asks the same address."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, repeat

from auditor.provider.clock import Clock, default_clock
from auditor.provider.gate import Gate, gate_of
from tests.auditor.provider.conftest import Make, ask
from tests.auditor.provider.servers import Fault, Loopback


def test_no_more_requests_are_under_way_than_the_model_allows(make: Make) -> None:
    with Loopback() as server:
        provider = make(server.anthropic(), concurrency=3)
        with ThreadPoolExecutor(12) as pool:
            list(pool.map(lambda _: provider.complete(ask()), range(40)))
    assert server.peak <= 3
    assert len(server.bodies) == 40


def test_two_models_at_one_address_have_limits_of_their_own(make: Make) -> None:
    with Loopback() as server:
        server.delay.clear()
        many = make(server.openai("many"), concurrency=4)
        few = make(server.openai("few"), concurrency=1)
        with ThreadPoolExecutor(12) as pool:
            asked = [pool.submit(p.complete, ask()) for p in (many, few) for _ in range(6)]
            while server.under_way < 5:
                threading.Event().wait(0.005)
            models = sorted(body["model"] for body in server.bodies)
            server.delay.set()
            for one in asked:
                one.result()
    assert models == ["few", "many", "many", "many", "many"]
    assert server.peak <= 5


class Stopped(Clock):
    """A clock that moves only when it is told to, or slept on."""

    time = 0.0

    def now(self) -> float:
        return self.time

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        assert seconds is not None, "nobody would ever leave"
        self.time += seconds


def test_a_refusal_halves_the_limit_once_for_requests_that_were_under_way_together() -> None:
    clock = Stopped()
    gate = Gate(clock)
    with gate.slot("m", 16) as began:
        assert gate.limit == 16
        clock.time = 1.0
        for _ in range(5):
            gate.crowded(began, None)
        assert gate.limit == 8
    clock.time = 2.0
    with gate.slot("m", 16) as began:
        gate.crowded(began, None)
    assert gate.limit == 4


def test_a_full_round_of_replies_adds_one_request_up_to_the_model_s_limit() -> None:
    gate = Gate(Stopped())
    with gate.slot("m", 8) as began:
        gate.crowded(began, None)
    limits = []
    for _ in range(60):
        gate.succeeded()
        limits.append(gate.limit)
    assert limits[3] == 4
    assert limits[4] == 5
    assert limits[-1] == 8


def test_the_limit_never_falls_below_one_request() -> None:
    clock = Stopped()
    gate = Gate(clock)
    for moment in range(1, 10):
        clock.time = float(moment)
        with gate.slot("m", 2) as began:
            gate.crowded(began, None)
    assert gate.limit == 1


def test_everybody_waits_as_long_as_the_server_asks() -> None:
    clock = Stopped()
    gate = Gate(clock)
    with gate.slot("m", 8) as began:
        gate.crowded(began, 30.0)
    with gate.slot("other", 8) as later:
        assert later == 30.0


def test_a_refusal_of_one_request_holds_back_the_others(make: Make) -> None:
    faults = islice(repeat(Fault(kind="status", status=429, retry_after=0.0)), 8)
    with Loopback(faults=faults) as server:
        provider = make(server.anthropic(), concurrency=8)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: provider.complete(ask()), range(8)))
        assert gate_of(f"anthropic {server.url}", default_clock()).limit < 8
    assert len(server.bodies) == 16
