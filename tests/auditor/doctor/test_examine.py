"""What the examination says of weights, memory, keys, servers, disk and cost."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from auditor.doctor import Examination, Finding, examine
from auditor.doctor.costs import tokens_of_audit
from auditor.doctor.findings import human
from auditor.doctor.services import is_loopback
from auditor.errors import UsageError
from auditor.scenario.schema import (
    Budget,
    Model,
    ReaderSpec,
    ResolvedScenario,
    Scenario,
    ServedModel,
    TargetSpec,
    ToolSet,
    Truth,
)

Examine = Callable[..., Examination]
PRICED = {"name": "anthropic/claude-haiku-4-5", "max_tokens": 1000}


def write_model(folder: Path, *, parameters: int = 1000) -> Path:
    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer_config.json"):
        (folder / name).write_text("{}")
    save_file({"w": torch.zeros(parameters)}, folder / "model.safetensors")
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache."""
    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    return folder


def put_in_cache(cache: Path, repo: str) -> Path:
    """A snapshot of a model as the hub's client lays it down."""
    revision = "0" * 40
    root = cache / f"models--{repo.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(revision)
    return write_model(root / "snapshots" / revision)


@pytest.fixture
def examined(tmp_path: Path, cache: Path) -> Examine:
    def run(
        *targets: TargetSpec,
        variables: dict[str, str] | None = None,
        readers: dict[str, ReaderSpec] | None = None,
        options: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Examination:
        values = {
            "name": "toy",
            "targets": targets,
            "tool_sets": {
                "black_box": ToolSet(tools=("chat",)),
                "static": ToolSet(policy="static"),
            },
        }
        scenario = Scenario.model_validate(values | changes)
        resolved = ResolvedScenario(
            source=tmp_path / "toy.yaml",
            scenario=scenario,
            targets=targets,
            corpus_path=None,
            motives={},
            ceiling=None,
            readers=readers or {},
        )
        return examine(
            resolved, runs_dir=tmp_path / "runs", variables=variables or {}, **(options or {})
        )

    return run


def target(path: object, *, name: str = "one", **model: Any) -> TargetSpec:
    return TargetSpec(
        id=name,
        model=Model(path=str(path), device="cpu", **model),
        truth=Truth(group="guilty", motive="profit"),
    )


def found(examination: Examination, what: str, name: str = "") -> Finding:
    (one,) = [f for f in examination.findings if f.what == what and re.match(name, f.name)]
    return one


def test_a_model_in_a_folder_is_ready(examined: Examine, tmp_path: Path) -> None:
    examination = examined(target(write_model(tmp_path / "model")))
    assert found(examination, "weights").state == "ok"
    assert found(examination, "memory", "cpu").state == "ok"
    assert examination.ready
    assert not (tmp_path / "runs").exists(), "nothing is written"


def test_a_hub_id_is_looked_for_in_the_cache_and_never_fetched(
    examined: Examine, cache: Path
) -> None:
    missing = examined(target("org/some-7B"))
    weights = found(missing, "weights")
    assert (weights.state, missing.ready) == ("missing", False)
    assert "hf download org/some-7B" in weights.remedy
    assert "about 14 GB" in found(missing, "memory").detail, "guessed from the name"
    put_in_cache(cache, "org/some-7B")
    assert found(examined(target("org/some-7B")), "weights").state == "ok"


def test_a_download_that_stopped_half_way_is_told_from_a_whole_one(
    examined: Examine, cache: Path
) -> None:
    folder = put_in_cache(cache, "org/model")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    weights = found(examined(target("org/model")), "weights")
    assert weights.state == "missing"
    assert "without model-00002-of-00002.safetensors" in weights.detail


def test_many_adapters_are_one_finding(examined: Examine, tmp_path: Path) -> None:
    base = write_model(tmp_path / "model")
    targets = [target(base, name=f"t{n}", adapter=f"org/adapter-{n}") for n in range(3)]
    weights = found(examined(*targets), "weights", "adapter")
    assert weights.name == "adapter org/adapter-0 and 2 more"
    assert weights.state == "missing"


def test_only_the_weights_of_chosen_targets_and_rows_are_asked_for(
    examined: Examine, tmp_path: Path
) -> None:
    base = write_model(tmp_path / "model")
    targets = (target(base), target(base, name="two", adapter="org/adapter"))
    rows = {"plain": ToolSet(tools=("chat",)), "nla": ToolSet(tools=("nla_compare",))}
    readers = {"nla": ReaderSpec(av="org/av-7B", ar="org/ar-7B", device="cpu")}
    every = examined(*targets, tool_sets=rows, readers=readers)
    assert {f.name.split()[0] for f in every.findings if f.what == "weights"} == {
        "model", "adapter", "verbalizer", "reconstructor",
    }  # fmt: skip
    chosen = {"tool_sets": ["plain"], "targets": ["one"]}
    some = examined(*targets, tool_sets=rows, readers=readers, options=chosen)
    assert [f.name.split()[0] for f in some.findings if f.what == "weights"] == ["model"]
    assert some.ready


def test_memory_counts_each_model_once_in_the_dtype_it_is_loaded_in(
    examined: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = write_model(tmp_path / "model", parameters=1_000_000)
    two = (target(base), target(base, name="two"))
    monkeypatch.setattr("auditor.doctor.machine._main_memory", lambda: 4_500_000)
    tight = found(examined(*two), "memory")
    assert tight.state == "warning", "4.0 MB of 4.5 MB"
    assert "4 MB" in tight.detail
    halved = examined(target(base, dtype="bfloat16"))
    assert "2 MB" in found(halved, "memory").detail
    merged = write_model(tmp_path / "adapter")
    (merged / "model.safetensors").rename(merged / "adapter_model.safetensors")
    (merged / "adapter_config.json").write_text("{}")
    copied = examined(target(base, adapter=str(merged), merge_adapter=True))
    assert found(copied, "memory").state == "missing", "a merged copy stands beside its base"
    assert not copied.ready


def test_a_device_that_is_not_here_is_missing(examined: Examine, tmp_path: Path) -> None:
    spec = target(write_model(tmp_path / "model"))
    elsewhere = spec.model_copy(
        update={"model": spec.model.model_copy(update={"device": "cuda:99"})}
    )
    accelerator = found(examined(elsewhere), "accelerator")
    assert (accelerator.name, accelerator.state) == ("cuda:99", "missing")


def test_a_large_model_on_a_cpu_is_warned_of(examined: Examine) -> None:
    slow = found(examined(target("org/some-70B")), "accelerator")
    assert slow.state == "warning"
    assert "70 billion" in slow.detail


def asks(**model: Any) -> dict[str, Any]:
    return {"auditor": {"kind": "model", "model": model}}


def test_a_key_is_looked_for_and_never_shown(examined: Examine, tmp_path: Path) -> None:
    base = write_model(tmp_path / "model")
    lacking = examined(target(base), **asks(**PRICED))
    assert found(lacking, "key").state == "missing"
    assert "ANTHROPIC_API_KEY" in found(lacking, "key").remedy
    secret = "sk-very-secret"
    there = examined(target(base), variables={"ANTHROPIC_API_KEY": secret}, **asks(**PRICED))
    assert found(there, "key").state == "ok"
    assert secret not in there.model_dump_json()
    named = examined(target(base), **asks(**PRICED, key_env="MY_KEY"))
    assert "MY_KEY" in found(named, "key").name


def test_targets_behind_a_provider_are_asked_for_their_keys_once(examined: Examine) -> None:
    targets = [
        TargetSpec(
            id=f"far-{number}",
            model=ServedModel(name=f"openai/m{number}@http://far.example/v1", key_env="FAR_KEY"),
            baseline=ServedModel(name="anthropic/base"),
            truth=Truth(group="clean"),
        )
        for number in range(3)
    ]
    examination = examined(*targets, variables={"ANTHROPIC_API_KEY": "x"})
    keys = {f.name: f.state for f in examination.findings if f.what == "key"}
    assert keys == {"FAR_KEY (target)": "missing", "ANTHROPIC_API_KEY (baseline)": "ok"}
    assert len([f for f in examination.findings if f.what == "key"]) == 2
    assert any("targets behind a provider" in one for one in examination.cost.assumptions)


def test_a_row_without_an_agent_needs_no_auditor_model(examined: Examine, tmp_path: Path) -> None:
    options = {"tool_sets": ["static"]}
    examination = examined(target(write_model(tmp_path / "m")), options=options, **asks(**PRICED))
    assert not [f for f in examination.findings if f.what == "key"]
    assert examination.cost.auditor_dollars == 0


class Server:
    """Counts what it is asked and lists models."""

    def __init__(self, *, models: list[str], status: int = 200) -> None:
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.command, self.path, dict(self.headers)))
                body = json.dumps({"data": [{"id": name} for name in models]}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(**options: Any) -> Server:
        started.append(Server(**options))
        return started[-1]

    yield start
    for server in started:
        server.close()


def test_a_server_on_this_machine_is_asked_for_its_models_and_nothing_else(
    examined: Examine, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    server, base = serve(models=["mine"]), write_model(tmp_path / "model")
    asked = asks(name=f"openai/mine@{server.url}")
    ready = examined(target(base), variables={"OPENAI_API_KEY": "sk-secret"}, **asked)
    assert found(ready, "server").state == "ok"
    ((method, path, headers),) = server.asked
    assert (method, path) == ("GET", "/v1/models")
    assert "sk-secret" not in str(headers)
    assert not [f for f in ready.findings if f.what == "key"], "a local server needs none"
    assert ready.cost.auditor_dollars == 0
    other = examined(target(base), **asks(name=f"openai/other@{server.url}"))
    assert found(other, "server").state == "missing"
    assert "serves mine, and not other" in found(other, "server").detail


@pytest.mark.parametrize(("status", "state"), [(401, "ok"), (404, "warning"), (500, "warning")])
def test_what_a_server_answers_is_understood(
    examined: Examine, tmp_path: Path, serve: Callable[..., Server], status: int, state: str
) -> None:
    server = serve(models=[], status=status)
    examination = examined(
        target(write_model(tmp_path / "model")), **asks(name=f"openai/mine@{server.url}")
    )
    assert found(examination, "server").state == state


def test_a_server_that_is_down_is_missing_and_one_elsewhere_is_not_asked(
    examined: Examine, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    base = write_model(tmp_path / "model")
    server = serve(models=[])
    server.http.server_close()
    down = examined(target(base), **asks(name=f"openai/mine@{server.url}"))
    assert found(down, "server").state == "missing"
    far = examined(target(base), **asks(name="openai/mine@https://models.example/v1"))
    assert found(far, "server").state == "unknown"
    assert not [f for f in far.findings if f.what == "key"], "none is sent there unasked"
    assert far.cost.auditor_dollars is None, "what another server charges is not known"


@pytest.mark.parametrize(
    ("url", "there"),
    [
        ("http://localhost:1/v1", True),
        ("http://127.0.0.7", True),
        ("http://[::1]:80", True),
        ("http://localhost.example.com", False),
        ("http://10.0.0.1", False),
        ("nonsense", False),
    ],
)
def test_loopback_addresses_are_told_from_others(url: str, there: bool) -> None:
    assert is_loopback(url) is there


def test_a_local_language_model_and_a_script_are_looked_for(
    examined: Examine, tmp_path: Path
) -> None:
    base = write_model(tmp_path / "model")
    local = examined(target(base), **asks(name="hf/org/some-8B"))
    assert found(local, "weights", "language model").state == "missing"
    script = tmp_path / "script.py"
    absent = examined(target(base), **asks(name=f"scripted/{script}:moves"))
    assert found(absent, "script").state == "missing"
    script.write_text("moves = []")
    assert (
        found(examined(target(base), **asks(name=f"scripted/{script}:moves")), "script").state
        == "ok"
    )


def test_cost_is_trials_times_budget_at_known_prices(examined: Examine, tmp_path: Path) -> None:
    base = write_model(tmp_path / "model")
    judge = {"kind": "model", "model": PRICED, "votes": 3}
    budget = {"turns": 10, "target_tokens": 2_000, "auditor_tokens": 1_000, "dollars": 0.5}
    cost = examined(target(base), trials=4, budget=budget, judge=judge, **asks(**PRICED)).cost
    assert (cost.trials, cost.auditor_tokens, cost.judge_calls) == (8, 4_000, 24)
    assert cost.limit_dollars == 2.0
    # 5,000 tokens in at $1 a million, 25,000 read again at a tenth, 1,000 out at $5.
    assert cost.auditor_dollars == pytest.approx(4 * (0.005 + 0.0025 + 0.005))
    assert cost.judge_dollars == pytest.approx(24 * (0.0025 + 0.0015))
    unknown = examined(target(base), **asks(name="anthropic/no-such-model")).cost
    assert unknown.auditor_dollars is None


def test_a_budget_without_turns_leaves_the_cost_open() -> None:
    assert tokens_of_audit(Budget(turns=None, tool_calls=None), 100) is None
    assert tokens_of_audit(Budget(turns=3, target_tokens=None), 100) == (300, 450, 300)


def test_too_small_a_disk_and_an_unwritable_folder_are_missing(
    examined: Examine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    full = examined(target("org/some-900000B"))
    assert found(full, "disk", "Hugging").state == "missing"
    monkeypatch.setattr("os.access", lambda *_: False)
    assert found(examined(target(write_model(tmp_path / "m"))), "disk", "runs").state == "missing"


def test_an_unknown_row_is_the_operators_mistake(examined: Examine, tmp_path: Path) -> None:
    base = write_model(tmp_path / "model")
    with pytest.raises(UsageError, match="did you mean 'static'"):
        examined(target(base), options={"tool_sets": ["statc"]})


@pytest.mark.parametrize(
    ("size", "text"), [(17, "17 B"), (2e6, "2 MB"), (3.14e9, "3.1 GB"), (1.41e12, "1,410 GB")]
)
def test_bytes_are_written_for_people(size: float, text: str) -> None:
    assert human(size) == text
