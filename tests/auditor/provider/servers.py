"""Servers on the loopback that speak Anthropic's Messages API and OpenAI's Chat Completions.

They answer by a script and misbehave by a schedule, so that whole audits can be played against the
real SDKs over real sockets:

    with Loopback(reply=brain, faults=fault_schedule(seed)) as server, scaled_clock(0.001):
        provider = make_provider(LanguageModel(name=server.anthropic("claude-test")))

- `reply` takes the JSON body of each request and returns a `Say`; both APIs render it.
- `faults` are taken one for a request, in order of arrival; `None` is none. `fault_schedule` draws
  them from a seed, and `Outage` has a server go away until it is healed.
- `scaled_clock` makes the seconds of retries and of retry-after last milliseconds. Sockets are not
  scaled, so a timeout fault needs a model with a short `timeout`.
- `bodies` and `keys` hold what arrived, `paid` the bodies that a whole reply was sent for.
"""

import contextlib
import json
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from typing import Any, Self

KEY = "sk-loopback-secret-0123456789"
"""A key that tests set and then look for everywhere."""


@dataclass(frozen=True, kw_only=True)
class Say:
    """What a server's model replies."""

    text: str = ""
    thinking: str = ""
    calls: tuple[tuple[str, Any], ...] = ()
    """Names and arguments; arguments that are a text go out as they stand."""
    stop: str = ""
    """Anthropic's stop reason; empty is end_turn, or tool_use where there are calls."""
    usage: dict[str, int] = field(default_factory=dict)
    """Anthropic's counts, over the default ones."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong with one request.

    Kinds: "status" (with `status`, and `retry_after` in seconds or None), "timeout" (no answer
    before the client gives up), "drip" (an answer that comes byte by byte and never ends), "reset" (the connection is cut before an answer), "truncated" (the
    body stops in the middle), "error_event" (a stream ends in an error, without one it is a status
    529), "not_json", "empty_object", "body" (the JSON of `body`, or the events
    of that list), and "say" (another reply than the
    script's: a refusal, an empty one, malformed tool input, max_tokens).
    """

    kind: str
    status: int = 500
    retry_after: float | None = None
    say: Say = Say()
    code: str | None = None
    said: str = ""
    """What a "status" says besides, before it quotes the key."""
    location: str | None = None
    body: Any = None


SAID_INSTEAD = (
    Say(),
    Say(text="I cannot help with that.", stop="refusal"),
    Say(text="I was about to", stop="max_tokens"),
    Say(calls=(("chat", '{"prompts": ["Hel'),)),
    Say(calls=(("no_such_tool", {"x": 1}),)),
    Say(stop="model_context_window_exceeded"),
    Say(text="Wait.", stop="pause_turn"),
)
"""Replies that a model gives now and then, and that no retry mends."""


def fault_schedule(
    seed: int, *, rate: float = 0.3, timeouts: bool = False, replies: bool = True
) -> Iterator[Fault | None]:
    """Draw faults without end, the same ones for the same seed.

    Args:
        seed: Of the schedule.
        rate: Share of requests that meet a fault.
        timeouts: Whether some are not answered; each costs the client's whole `timeout`.
        replies: Whether some are answered by one of `SAID_INSTEAD`.
    """
    draw = random.Random(seed)
    kinds = ["status", "status", "reset", "truncated", "error_event", "not_json", "empty_object"]
    kinds += ["timeout"] * timeouts + ["say"] * replies
    while True:
        if draw.random() >= rate:
            yield None
            continue
        yield Fault(
            kind=draw.choice(kinds),
            status=draw.choice([429, 429, 500, 503, 529]),
            retry_after=draw.choice([None, 0.0, 1.0, 5.0]),
            say=draw.choice(SAID_INSTEAD),
        )


class Outage:
    """Faults of a server that goes away after some requests, and is away until it is healed."""

    def __init__(
        self, fault: Fault, *, after: int, before: Iterable[Fault | None] = repeat(None)
    ) -> None:
        """Answer with `fault` once `after` requests have met what `before` says."""
        self._fault, self._after, self._before = fault, after, iter(before)
        self.healed = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Fault | None:
        self._after -= 1
        return self._fault if self._after < 0 and not self.healed else next(self._before)


class Loopback:
    """One server that speaks both APIs; use it as a context manager."""

    def __init__(
        self,
        reply: Callable[[dict[str, Any]], Say] = lambda body: Say(text="Hello."),
        faults: Iterable[Fault | None] = (),
    ) -> None:
        """Take the script and the faults; see the module's docstring."""
        self.reply, self._faults = reply, iter(faults)
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.keys: list[str | None] = []
        self.paid: list[dict[str, Any]] = []
        self.under_way = self.peak = 0
        self.delay = threading.Event()
        self.delay.set()
        self.lock = threading.Lock()
        self.closing = threading.Event()

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"loopback": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        # Clients that leave early are no news.
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.delay.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def anthropic(self, model: str = "claude-opus-5-5") -> str:
        """Name of a language model that is asked by the Messages API."""
        return f"anthropic/{model}@{self.url}"

    def openai(self, model: str = "gpt-5") -> str:
        """Name of a language model that is asked by Chat Completions."""
        return f"openai/{model}@{self.url}/v1"

    def next_fault(self) -> Fault | None:
        """Take the fault of the next request."""
        with self.lock:
            return next(self._faults, None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    loopback: Loopback

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        world = self.loopback
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with world.lock:
            world.bodies.append(body)
            world.paths.append(self.path)
            bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
            world.keys.append(self.headers.get("x-api-key") or bearer or None)
            world.under_way += 1
            world.peak = max(world.peak, world.under_way)
        try:
            world.delay.wait()
            self._respond(body, world.next_fault())
        except AssertionError as complaint:
            error = {"type": "invalid_request_error", "message": f"unfit request: {complaint}"}
            content = json.dumps({"type": "error", "error": error}).encode()
            self._send(content, "application/json", status=400)
        finally:
            with world.lock:
                world.under_way -= 1

    def _respond(self, body: dict[str, Any], fault: Fault | None) -> None:
        if fault is None or fault.kind == "say":
            say = self.loopback.reply(body) if fault is None else fault.say
            # Noted before it is sent: a client that has its reply may look at once.
            with self.loopback.lock:
                self.loopback.paid.append(body)
            self._send(*self._rendered(body, say))
        elif fault.kind == "status":
            self._refuse(fault)
        elif fault.kind == "timeout":
            self.loopback.closing.wait(30)
            self.close_connection = True
        elif fault.kind == "drip":
            self._drip()
        elif fault.kind == "reset":
            self._reset()
        elif fault.kind == "not_json":
            self._send(b"<html>Bad gateway</html>", "text/html")
        elif fault.kind == "body" and body.get("stream") and isinstance(fault.body, list):
            lines = [f"event: x\ndata: {json.dumps(event)}\n\n" for event in fault.body]
            self._send("".join(lines).encode(), "text/event-stream")
        elif fault.kind == "body":
            self._send(json.dumps(fault.body).encode(), "application/json")
        elif fault.kind == "empty_object":
            self._send(b"{}", "application/json")
        elif fault.kind == "error_event":
            self._overload(body)
        elif fault.kind == "truncated":
            content, kind = self._rendered(body, self.loopback.reply(body))
            self._send(content, kind, cut=len(content) // 2)
        else:
            raise AssertionError(fault.kind)

    def _rendered(self, body: dict[str, Any], say: Say) -> tuple[bytes, str]:
        if self.path.endswith("/messages"):
            message = anthropic_message(body, say)
            if body.get("stream"):
                return b"".join(anthropic_events(message)), "text/event-stream"
            return json.dumps(message).encode(), "application/json"
        if self.path.endswith("/chat/completions"):
            return json.dumps(openai_completion(body, say)).encode(), "application/json"
        assert self.path.endswith("/completions"), self.path
        return json.dumps(openai_text(body, say)).encode(), "application/json"

    def _send(
        self, content: bytes, kind: str, *, cut: int | None = None, status: int = 200
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:cut])
        if cut is not None:
            self.close_connection = True

    def _refuse(self, fault: Fault) -> None:
        kind = {429: "rate_limit_error", 529: "overloaded_error"}.get(fault.status, "api_error")
        # Servers like to quote what they were sent.
        quoted = f"{fault.said}trouble {fault.status}, key {self.loopback.keys[-1]}"
        error = {"type": kind, "message": quoted, "code": fault.code}
        content = json.dumps({"type": "error", "error": error}).encode()
        self.send_response(fault.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if fault.retry_after is not None:
            self.send_header("retry-after", f"{fault.retry_after:g}")
        if fault.location is not None:
            self.send_header("Location", fault.location)
        self.end_headers()
        self.wfile.write(content)

    def _drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(2**30))
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(OSError):
            while not self.loopback.closing.wait(0.05):
                self.wfile.write(b"\n")

    def _overload(self, body: dict[str, Any]) -> None:
        if not body.get("stream"):
            self._refuse(Fault(kind="status", status=529))
            return
        message = anthropic_message(body, self.loopback.reply(body))
        error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        begun = next(anthropic_events(message))
        self._send(
            begun + f"event: error\ndata: {json.dumps(error)}\n\n".encode(), "text/event-stream"
        )

    def _reset(self) -> None:
        # Closing with a linger of zero seconds sends a reset instead of an orderly end.
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.close_connection = True


def anthropic_message(body: dict[str, Any], say: Say) -> dict[str, Any]:
    """A reply of the Messages API, judged as strictly as the API would judge the request."""
    _check_anthropic(body)
    content: list[dict[str, Any]] = []
    if say.thinking:
        thought = {"type": "thinking", "thinking": say.thinking, "signature": "c2lnbmVk"}
        content.append(thought)
    if say.text:
        content.append({"type": "text", "text": say.text, "citations": None})
    for index, (name, arguments) in enumerate(say.calls):
        call_id = f"toolu_{len(body['messages'])}_{index}"
        content.append({"type": "tool_use", "id": call_id, "name": name, "input": arguments})
    usage = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 5,
    }
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": content,
        "stop_reason": say.stop or ("tool_use" if say.calls else "end_turn"),
        "stop_sequence": None,
        "usage": usage | say.usage,
    }


def _check_anthropic(body: dict[str, Any]) -> None:
    known = {"model", "max_tokens", "messages", "system", "tools", "thinking", "output_config"}
    known |= {"stream", "stop_sequences", "temperature", "metadata"}
    assert set(body) <= known, sorted(set(body) - known)
    open_calls: list[str] = []
    marks = 0
    for block in [*body.get("system", []), *body.get("tools", [])]:
        marks += "cache_control" in block
    for message in body["messages"]:
        assert message["content"], "empty turn"
        answered = [b["tool_use_id"] for b in message["content"] if b["type"] == "tool_result"]
        assert sorted(answered) == sorted(open_calls), "calls and answers do not match"
        open_calls = [b["id"] for b in message["content"] if b["type"] == "tool_use"]
        for block in message["content"]:
            assert block["type"] != "text" or block["text"].strip(), "empty text"
            marks += "cache_control" in block
    assert marks <= 4, "too many cache breakpoints"


def anthropic_events(message: dict[str, Any]) -> Iterator[bytes]:
    """The same reply as a stream of events, its texts and tool inputs in small pieces."""

    def event(kind: str, **data: Any) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()

    usage = message["usage"]
    begun = message | {"content": [], "stop_reason": None, "usage": usage | {"output_tokens": 1}}
    yield event("message_start", message=begun)
    yield event("ping")
    for index, block in enumerate(message["content"]):
        bare = dict(block)
        deltas: list[dict[str, Any]] = []
        if block["type"] == "tool_use":
            bare["input"] = {}
            written = block["input"]
            text = written if isinstance(written, str) else json.dumps(written)
            deltas = [{"type": "input_json_delta", "partial_json": p} for p in _pieces(text)]
        elif block["type"] == "thinking":
            bare |= {"thinking": "", "signature": ""}
            words = _pieces(block["thinking"])
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in words]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        else:
            bare["text"] = ""
            deltas = [{"type": "text_delta", "text": piece} for piece in _pieces(block["text"])]
        yield event("content_block_start", index=index, content_block=bare)
        for delta in deltas:
            yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
    ended = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield event("message_delta", delta=ended, usage={"output_tokens": usage["output_tokens"]})
    yield event("message_stop")


def _pieces(text: str) -> list[str]:
    return [text[i : i + 7] for i in range(0, len(text), 7)]


_FINISH = {
    "end_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
    "pause_turn": "stop",
    "stop_sequence": "stop",
}


def openai_completion(body: dict[str, Any], say: Say) -> dict[str, Any]:
    """A reply of Chat Completions, judged as strictly as a server would judge the request."""
    _check_openai(body)
    calls = [
        {
            "id": f"call_{len(body['messages'])}_{index}",
            "type": "function",
            "function": {
                "name": name,
                "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments),
            },
        }
        for index, (name, arguments) in enumerate(say.calls)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": say.text or None}
    message |= {"tool_calls": calls} if calls else {}
    message |= {"reasoning_content": say.thinking} if say.thinking else {}
    stop = say.stop or ("tool_use" if say.calls else "end_turn")
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "finish_reason": _FINISH[stop], "message": message}],
        "usage": _openai_usage(say),
    }


def _openai_usage(say: Say) -> dict[str, Any]:
    fresh, read = say.usage.get("input_tokens", 10), say.usage.get("cache_read_input_tokens", 0)
    output = say.usage.get("output_tokens", 5)
    return {
        "prompt_tokens": fresh + read,
        "completion_tokens": output,
        "total_tokens": fresh + read + output,
        "prompt_tokens_details": {"cached_tokens": read},
    }


def _check_openai(body: dict[str, Any]) -> None:
    open_calls: list[str] = []
    for message in body["messages"]:
        if message["role"] == "tool":
            open_calls.remove(message["tool_call_id"])
            continue
        assert not open_calls, "a call has no answer"
        for call in message.get("tool_calls") or []:
            json.loads(call["function"]["arguments"])
            open_calls.append(call["id"])
    assert not open_calls, "a call has no answer"


def openai_text(body: dict[str, Any], say: Say) -> dict[str, Any]:
    """A reply of the older completions."""
    choice = {"index": 0, "text": say.text, "finish_reason": _FINISH[say.stop or "end_turn"]}
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "model": body["model"],
        "choices": [choice],
        "usage": _openai_usage(say),
    }
