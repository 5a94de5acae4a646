"""Servers that hang, break off, refuse and answer nonsense."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nla_core.backends import BackendError, HttpOptions, SGLangBackend, VLLMBackend, _http, sglang
from nla_core.backends import vllm as vllm_module
from nla_core.sampling import Generation, Sampling

SAMPLING = Sampling(temperature=1, max_tokens=8)
KEY = "sk-very-secret-0123"
Serve = Callable[..., Any]
Prompts = list[torch.Tensor]


def draw(backend: Any, prompts: Prompts) -> list[Generation]:
    seeds = list(range(100, 100 + len(prompts)))
    found: list[Generation] = backend.continue_embeddings(prompts, sampling=SAMPLING, seeds=seeds)
    return found


def status(code: int, reply: Any, **headers: str) -> Callable[[Any], None]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.send(code, reply, named)


def hang(handler: Any) -> None:
    handler.loopback.released.wait(5)
    handler.close_connection = True


def drop_in_the_middle(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"text": "half of')
    handler.close_connection = True


def drop_at_once(handler: Any) -> None:
    handler.close_connection = True


def drip(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    try:
        while not handler.loopback.released.wait(0.04):
            handler.wfile.write(b" ")
    except OSError:
        handler.close_connection = True


PASSING = {
    "500": status(500, {"error": {"message": "CUDA error"}}),
    "502 from a proxy": status(502, b"<html>Bad Gateway</html>"),
    "503": status(503, {"error": {"message": "loading"}}),
    "429": status(429, {"detail": "slow down"}),
    "dropped in the middle": drop_in_the_middle,
    "dropped at once": drop_at_once,
    "not JSON": status(200, b"<html>hello</html>"),
    "cut-off JSON": status(200, b'{"text": "half'),
    "not UTF-8": status(200, b'{"text": "\xff"}'),
    "nested without end": status(200, b"[" * 200_000),
    "a list": status(200, []),
    "nothing": status(200, {}),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_a_fault_that_passes_is_not_noticed(
    kind: str, serve: Serve, prompts: Prompts, fault: Callable[[Any], None]
) -> None:
    expected = draw(serve(kind).backend(), prompts[:2])
    server = serve(kind, faults=[fault, fault])
    assert draw(server.backend(max_requests=1), prompts[:2]) == expected
    assert server.n_posts == 4


@pytest.mark.parametrize("fault", [hang, drip])
def test_an_answer_that_takes_too_long_is_asked_for_again(
    kind: str, serve: Serve, prompts: Prompts, fault: Callable[[Any], None]
) -> None:
    server = serve(kind, faults=[fault])
    start = time.monotonic()
    [found] = draw(server.backend(timeout=0.2), prompts[:1])
    assert found.text.startswith("<explanation>")
    assert time.monotonic() - start < 2
    assert server.n_posts == 2


def test_a_server_that_never_answers_is_given_up(kind: str, serve: Serve, prompts: Prompts) -> None:
    server = serve(kind, faults=[hang] * 9)
    with pytest.raises(BackendError, match=r"gave no answer within 0\.2 s, 2 times; is it over"):
        draw(server.backend(timeout=0.2, attempts=2), prompts[:1])
    assert server.n_posts == 2


def test_a_server_that_stays_busy_is_given_up_with_what_it_said(
    kind: str, serve: Serve, prompts: Prompts
) -> None:
    server = serve(kind, faults=[status(503, {"error": {"message": "no\x1b[31m room\n"}})] * 9)
    with pytest.raises(BackendError) as error:
        draw(server.backend(), prompts[:1])
    assert server.n_posts == 3
    line = str(error.value)
    assert line.isprintable()
    assert f"server at {server.url} answered 503 (no [31m room), 3 times; look at" in line


def test_the_wait_that_a_server_asks_for_is_kept(kind: str, serve: Serve, prompts: Prompts) -> None:
    server = serve(kind, faults=[status(429, {}, Retry_After="1")])
    draw(server.backend(longest_wait=30), prompts[:1])
    first, second = server.times
    assert second - first >= 1


def test_no_wait_is_longer_than_the_longest(kind: str, serve: Serve, prompts: Prompts) -> None:
    server = serve(kind, faults=[status(429, {}, Retry_After="3600")])
    start = time.monotonic()
    draw(server.backend(longest_wait=0.1), prompts[:1])
    assert time.monotonic() - start < 5


def test_waits_grow(kind: str, serve: Serve, prompts: Prompts) -> None:
    server = serve(kind, faults=[status(500, {})] * 3)
    draw(server.backend(attempts=4, first_wait=0.1, longest_wait=9), prompts[:1])
    first, second, third, fourth = server.times
    assert second - first >= 0.1
    assert third - second >= 0.2
    assert fourth - third >= 0.4


@pytest.mark.parametrize(
    ("code", "reply", "said"),
    [
        (400, {"error": {"message": "bad embeds", "code": 400}}, r"400 \(bad embeds\); correct"),
        (400, {"object": "error", "message": "too long"}, r"400 \(too long\); correct"),
        (401, {"error": "Unauthorized"}, r"401 \(Unauthorized\); give the right API key"),
        (404, {"detail": "Not Found"}, r"404 \(Not Found\) to /.*; is the address that of such"),
        (413, b"<html>\n<b>too large</b>", r"413 \(<html> <b>too large</b>\); raise the limit"),
        (307, b"", "307; correct"),
        (499, [1], r"499 \(\[1\]\); correct"),
    ],
)
def test_a_refusal_is_final(
    kind: str, serve: Serve, prompts: Prompts, code: int, reply: Any, said: str
) -> None:
    server = serve(kind, faults=[status(code, reply)] * 9)
    with pytest.raises(BackendError, match=f"answered {said}"):
        draw(server.backend(), prompts[:1])
    assert server.n_posts == 1


def test_after_a_refusal_the_rest_is_not_sent(kind: str, serve: Serve, prompts: Prompts) -> None:
    server = serve(kind, faults=[status(400, {})])
    with pytest.raises(BackendError):
        draw(server.backend(max_requests=1), prompts * 20)
    time.sleep(0.1)
    assert server.n_posts <= 3


def test_a_server_that_is_not_there_is_named(prompts: Prompts, serve: Serve, kind: str) -> None:
    server = serve(kind)
    server.url = "http://127.0.0.1:1"
    backend = server.backend()
    with pytest.raises(BackendError, match=r"127\.0\.0\.1:1 cannot be reached .*3 times; start it"):
        draw(backend, prompts[:1])
    with pytest.raises(BackendError, match=r"127\.0\.0\.1:1 cannot be reached .*; start it"):
        backend.check()


def test_results_come_in_order_with_a_bounded_number_of_requests_at_once(
    kind: str, serve: Serve, prompts: Prompts
) -> None:
    one_by_one = [draw(serve(kind).backend(), [p])[0].text.split("-")[0] for p in prompts]
    server = serve(kind, delay=0.05)
    found = draw(server.backend(max_requests=3), prompts * 2)
    assert [g.text.split("-")[0] for g in found] == one_by_one * 2
    assert len(set(one_by_one)) == len(prompts)
    assert 1 < server.peak <= 3


def test_no_prompts_need_no_request(kind: str, serve: Serve) -> None:
    server = serve(kind)
    assert draw(server.backend(), []) == []
    assert server.n_posts == 0


def test_seeds_that_do_not_match_the_prompts_are_refused(
    kind: str, serve: Serve, prompts: Prompts
) -> None:
    with pytest.raises(ValueError, match="6 prompts need as many seeds, got 1"):
        serve(kind).backend().continue_embeddings(prompts, sampling=SAMPLING, seeds=[1])


def test_the_key_is_sent_and_never_shown(kind: str, serve: Serve, prompts: Prompts) -> None:
    server = serve(kind)
    backend = server.backend(api_key=KEY)
    backend.check()
    draw(backend, prompts[:1])
    assert server.keys == [f"Bearer {KEY}"] * 2
    assert KEY not in repr(backend)
    server.faults = [status(401, {"error": {"message": f"Incorrect API key provided: {KEY}."}})]
    with pytest.raises(BackendError, match=r"provided: \[API key\]\.\); give") as error:
        draw(backend, prompts[:1])
    shown: BaseException | None = error.value
    while shown is not None:
        assert KEY not in str(shown)
        shown = shown.__context__


def test_without_a_key_none_is_sent(kind: str, serve: Serve, prompts: Prompts) -> None:
    server = serve(kind)
    draw(server.backend(api_key=""), prompts[:1])
    assert server.keys == [None]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000",
        "ftp://host",
        "http://",
        "http://u:p@host",
        "http://h/?key=p",
        "http://[x",
        "http://h:99999",
        "http://" + "a" * 70,
        "http://a..b",
    ],
)
def test_addresses_that_are_none_or_hold_secrets_are_refused(url: str) -> None:
    for make in (SGLangBackend, lambda address: VLLMBackend(address, "m")):
        with pytest.raises(ValueError, match="must be like http://HOST:PORT") as error:
            make(url)
        assert "p@" not in str(error.value)


def test_a_key_that_no_header_can_hold_is_refused_unseen() -> None:
    with pytest.raises(ValueError, match="API key holds a space") as error:
        SGLangBackend("http://host", api_key=f"{KEY}\n")
    assert KEY not in str(error.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": 0},
        {"attempts": 0},
        {"max_requests": -1},
        {"first_wait": -1},
        {"longest_wait": -1},
    ],
)
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        HttpOptions(**wrong)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2015 07:28:00", 0),
        ("soon", None),
        ("-3", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    response = httpx.Response(429, headers={"Retry-After": value})
    assert _http._retry_after(response) == seconds


def test_a_date_in_the_future_is_a_wait() -> None:
    response = httpx.Response(429, headers={"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"})
    seconds = _http._retry_after(response)
    assert seconds is not None
    assert seconds > 1e9


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["text", "meta_info", "finish_reason", "type", "matched", "output_ids"]
                + ["choices", "token_ids", "stop_reason"]
            )
            | st.text(max_size=3),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@given(reply=JSON, fields=JSON)
def test_any_json_is_a_generation_or_a_passing_error(reply: Any, fields: Any) -> None:
    meta = {"finish_reason": {"type": "stop", "matched": fields}}
    choice = {"text": "a", "finish_reason": "stop", "token_ids": reply, "stop_reason": fields}
    for parse, answer in (
        (sglang._generation, reply),
        (vllm_module._generation, reply),
        (sglang._generation, {"text": "a", "output_ids": reply, "meta_info": meta}),
        (vllm_module._generation, {"choices": [choice]}),
    ):
        try:
            found = parse(answer, stop_ids=frozenset({2}))
        except _http.PassingError:
            continue
        assert isinstance(found.text, str)
        assert all(type(token) is int for token in found.token_ids)
