"""What goes wrong on the way, on both wires: what is asked again, and what is said in the end."""

import socket
from itertools import chain, islice, repeat
from typing import Any

import pytest

from auditor.errors import OutageError, ProviderError
from auditor.provider import Persistence, make_provider
from auditor.provider.clock import default_clock, scaled_clock
from auditor.scenario.schema import LanguageModel
from tests.auditor.provider.conftest import Make, ask
from tests.auditor.provider.servers import KEY, Fault, Loopback, Say, fault_schedule

ATTEMPTS = Persistence().attempts
WIRES = pytest.mark.parametrize("wire", ["anthropic", "openai", "stream"])
PASSING = [
    *(Fault(kind="status", status=s) for s in (408, 409, 429, 500, 502, 503, 529)),
    Fault(kind="status", status=429, retry_after=2.0),
    Fault(kind="reset"),
    Fault(kind="truncated"),
    Fault(kind="not_json"),
    Fault(kind="empty_object"),
]


def asked(server: Loopback, wire: str) -> tuple[str, dict[str, Any]]:
    name = server.openai() if wire == "openai" else server.anthropic()
    return name, {"max_tokens": 9000 if wire == "stream" else 100}


def label(fault: Fault) -> str:
    return f"{fault.kind}-{fault.status}-{fault.retry_after}"


@WIRES
@pytest.mark.parametrize("fault", PASSING, ids=label)
def test_what_may_pass_is_asked_again(make: Make, wire: str, fault: Fault) -> None:
    with Loopback(lambda body: Say(text="There."), faults=[fault, None, fault]) as server:
        name, settings = asked(server, wire)
        provider = make(name, **settings)
        assert provider.complete(ask()).text == "There."
        assert provider.complete(ask()).text == "There."
    assert len(server.bodies) == 4 if fault.kind != "reset" else len(server.bodies) >= 4


@WIRES
@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (400, "correct what it names"),
        (401, "set the right key in LOOPBACK_KEY"),
        (402, "billing"),
        (403, "LOOPBACK_KEY that may use this model"),
        (404, "the model's name or the address"),
        (413, "less at a time"),
        (422, "correct what it names"),
    ],
)
def test_a_mistake_is_told_at_once(make: Make, wire: str, status: int, advice: str) -> None:
    faults = repeat(Fault(kind="status", status=status))
    with Loopback(faults=faults) as server:
        name, settings = asked(server, wire)
        with pytest.raises(ProviderError) as caught:
            make(name, **settings).complete(ask())
    assert len(server.bodies) == 1
    assert f"answered {status}" in str(caught.value)
    assert advice in str(caught.value)
    assert not caught.value.perhaps_paid


@WIRES
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        *((Fault(kind="status", status=s), OutageError) for s in (401, 402, 403, 404)),
        *((Fault(kind="status", status=s), ProviderError) for s in (400, 413, 422)),
        (Fault(kind="status", status=307, location="/elsewhere"), OutageError),
        (Fault(kind="status", status=429, retry_after=7200.0), OutageError),
        (Fault(kind="status", status=503), OutageError),
        (Fault(kind="reset"), OutageError),
        (Fault(kind="not_json"), OutageError),
    ],
    ids=lambda value: label(value) if isinstance(value, Fault) else value.__name__,
)
def test_what_every_request_would_meet_is_told_from_what_one_has_met(
    make: Make, wire: str, fault: Fault, kind: type[ProviderError]
) -> None:
    with Loopback(faults=repeat(fault)) as server:
        name, settings = asked(server, wire)
        with pytest.raises(ProviderError) as caught:
            make(name, **settings).complete(ask())
    assert type(caught.value) is kind


def test_an_account_without_money_is_told_whatever_the_status(make: Make) -> None:
    low = "Your credit balance is too low to access the Anthropic API."
    cases = [("anthropic", 400, None, low), ("openai", 429, "insufficient_quota", "")]
    for wire, status, code, said in cases:
        fault = Fault(kind="status", status=status, code=code, said=said)
        told = pytest.raises(OutageError, match="see to the account's billing")
        with Loopback(faults=repeat(fault)) as server, told:
            make(asked(server, wire)[0]).complete(ask())
        assert len(server.bodies) == 1


@WIRES
def test_no_redirect_is_followed_for_the_key_would_go_along(make: Make, wire: str) -> None:
    faults = [Fault(kind="status", status=307, location="/elsewhere")]
    with Loopback(faults=faults) as server:
        name, settings = asked(server, wire)
        with pytest.raises(ProviderError, match="answered 307 and points to another address"):
            make(name, **settings).complete(ask())
    assert len(server.bodies) == 1


@WIRES
def test_what_does_not_pass_ends_in_one_line_without_the_key(make: Make, wire: str) -> None:
    with Loopback(faults=repeat(Fault(kind="status", status=529))) as server:
        name, settings = asked(server, wire)
        provider = make(name, **settings)
        with pytest.raises(ProviderError) as caught:
            provider.complete(ask())
    message = str(caught.value)
    assert message.startswith(provider.name)
    assert f"answered 529 (trouble 529, key [key]), {ATTEMPTS} times; " in message
    assert "\n" not in message
    assert KEY not in message
    assert KEY not in repr(provider)
    assert len(server.bodies) == ATTEMPTS


@WIRES
def test_no_answer_in_time_is_asked_three_times(make: Make, wire: str) -> None:
    with Loopback(faults=repeat(Fault(kind="timeout"))) as server:
        name, settings = asked(server, wire)
        with pytest.raises(ProviderError, match=r"no answer within 0.2 s, 3 times") as caught:
            make(name, **settings, timeout=0.2).complete(ask())
    assert len(server.bodies) == 3
    assert caught.value.perhaps_paid


@WIRES
def test_a_reply_that_drips_in_and_does_not_end_is_given_up(make: Make, wire: str) -> None:
    with Loopback(faults=repeat(Fault(kind="drip"))) as server:
        name, settings = asked(server, wire)
        with pytest.raises(ProviderError, match=r"no answer within 0.4 s, 3 times"):
            make(name, **settings, timeout=0.4).complete(ask())


@pytest.mark.parametrize("scheme", ["anthropic", "openai"])
def test_a_server_that_is_not_there_is_named(make: Make, scheme: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(ProviderError, match="cannot be reached .*; check the address"):
            make(f"{scheme}/m@{address}").complete(ask())


@WIRES
def test_a_wait_that_is_asked_for_is_waited(make: Make, wire: str) -> None:
    faults = [Fault(kind="status", status=429, retry_after=300.0)]
    with Loopback(faults=faults) as server:
        name, settings = asked(server, wire)
        clock = default_clock()
        began = clock.now()
        make(name, **settings).complete(ask())
        assert clock.now() - began >= 300.0


@WIRES
def test_a_wait_of_hours_is_an_error_that_says_so(make: Make, wire: str) -> None:
    faults = repeat(Fault(kind="status", status=429, retry_after=7200.0))
    with Loopback(faults=faults) as server:
        name, settings = asked(server, wire)
        with pytest.raises(ProviderError, match="asks to wait 7200 s"):
            make(name, **settings).complete(ask())
    assert len(server.bodies) == 1


def test_an_error_in_the_middle_of_a_stream_is_asked_again(make: Make) -> None:
    with Loopback(lambda body: Say(text="There."), faults=[Fault(kind="error_event")]) as server:
        found = make(server.anthropic(), max_tokens=9000).complete(ask())
    assert found.text == "There."
    assert len(server.bodies) == 2


@WIRES
def test_the_same_seed_gives_the_same_faults_and_every_request_ends(wire: str) -> None:
    seeds = range(40)
    for seed in seeds:
        first = list(islice(fault_schedule(seed, rate=0.6), 30))
        assert first == list(islice(fault_schedule(seed, rate=0.6), 30))
    faults = chain.from_iterable(islice(fault_schedule(seed, rate=0.6), 10) for seed in seeds)
    there = Loopback(lambda body: Say(text="There."), faults=faults)
    with there as server, scaled_clock(0.0001):
        name, settings = asked(server, wire)
        model = LanguageModel(name=name, key_env="LOOPBACK_KEY", **settings)
        provider = make_provider(model, persistence=Persistence(attempts=50))
        stops = {provider.complete(ask()).stop for _ in range(50)}
    assert {"end", "refusal", "max_tokens", "tool_use"} <= stops
