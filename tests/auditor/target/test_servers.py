"""Readers whose verbalizer runs on servers, over real sockets."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from auditor.errors import OutageError, UsageError
from auditor.scenario.schema import PairSpec, ReaderSpec, VerbalizerServers
from auditor.target.pool import TargetPool
from auditor.target.servers import VerbalizerBackend, server_backend
from nla_core.backends import HttpOptions, ReplicaBackend, ReplicaOptions, SGLangBackend
from nla_core.backends.protocol import BackendError
from nla_core.sampling import Sampling

WEIGHTS = Path(__file__).parents[3] / "scenarios" / "sandbox" / "weights" / "nla"
REPLY = {
    "text": "<explanation>the model plans a gift</explanation>",
    "output_ids": [5, 6, 7],
    "meta_info": {"finish_reason": {"type": "stop", "matched": 2}},
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._send({"disable_radix_cache": True})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.keys.append(self.headers.get("Authorization"))  # type: ignore[attr-defined]
        self._send(REPLY, self.server.status)  # type: ignore[attr-defined]

    def _send(self, reply: Any, status: int = 200) -> None:
        content = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def sglang() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.keys, server.status = [], 200  # type: ignore[attr-defined]
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_reader_draws_from_its_servers_and_goes_on_without_a_dead_one(
    sglang: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("READER_KEY", "sk-quite-secret")
    here = f"http://127.0.0.1:{sglang.server_address[1]}"
    dead = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    there = f"http://127.0.0.1:{dead.server_address[1]}"
    dead.server_close()
    servers = VerbalizerServers(kind="sglang", urls=(there, here), key_env="READER_KEY")
    spec = ReaderSpec(av=str(WEIGHTS / "av"), ar=str(WEIGHTS / "ar"), servers=servers)
    reader = TargetPool().reader(spec)
    readings = reader.read(
        torch.randn(3, 128, generator=torch.Generator().manual_seed(1)),
        layer=reader.layers[0],
        samples=2,
        temperature=1.0,
        seeds=[1, 2, 3],
        contexts=["a", "b", "c"],
    )
    assert [r.explanation.text for r in readings] == ["the model plans a gift"] * 6
    assert all(r.fidelity.score is not None for r in readings)
    assert sglang.keys == ["Bearer sk-quite-secret"] * 6  # type: ignore[attr-defined]


def test_servers_that_are_all_out_are_one_line() -> None:
    dead = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{dead.server_address[1]}"
    dead.server_close()
    servers = VerbalizerServers(kind="sglang", urls=(url,))
    spec = ReaderSpec(av=str(WEIGHTS / "av"), ar=str(WEIGHTS / "ar"), servers=servers)
    with pytest.raises(OutageError, match="cannot be reached") as caught:
        TargetPool().reader(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(503, OutageError), (401, OutageError), (404, OutageError), (400, BackendError)],
)
def test_what_every_trial_would_meet_is_an_outage_and_what_one_has_met_is_not(
    sglang: ThreadingHTTPServer, status: int, kind: type[Exception]
) -> None:
    sglang.status = status  # type: ignore[attr-defined]
    here = f"http://127.0.0.1:{sglang.server_address[1]}"
    server = SGLangBackend(here, options=HttpOptions(attempts=1))
    backend = VerbalizerBackend(ReplicaBackend([server], options=ReplicaOptions(patience=0.01)))
    with pytest.raises(kind, match=f"answered {status}"):
        backend.continue_embeddings([torch.zeros(2, 4)], sampling=Sampling(), seeds=[1])
    backend.close()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"urls": ("http://%%:1",)}, "must be like http://HOST:PORT"),
        ({"key_env": "NO_SUCH_KEY"}, "NO_SUCH_KEY .* is not set"),
    ],
)
def test_a_server_that_cannot_be_one_is_refused(changes: dict[str, Any], message: str) -> None:
    servers = VerbalizerServers(kind="sglang", urls=("http://h:1",)).model_copy(update=changes)
    with pytest.raises(UsageError, match=message):
        server_backend(PairSpec(av="a/b", ar="a/c", servers=servers))


def test_vllm_is_asked_for_the_verbalizer_under_its_own_name() -> None:
    servers = VerbalizerServers(kind="vllm", urls=("http://h:1", "http://h:2"))
    backend: Any = server_backend(PairSpec(av="org/av", ar="org/ar", servers=servers))
    assert [repr(b) for b in backend.healthy] == [
        f"<VLLMBackend: org/av on the vLLM server at http://h:{n}>" for n in (1, 2)
    ]
    backend.close()
    assert server_backend(PairSpec(av="org/av", ar="org/ar")) is None
