"""What a run may spend: bounds before a request, sums after it, over threads and processes."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import BudgetReachedError, ProviderError, UsageError
from auditor.provider import make_provider
from auditor.provider.cache import CacheSettings
from auditor.provider.estimate import Bound, Estimator, limit_at_risk
from auditor.provider.ledger import RunLedger, Spent
from auditor.provider.protocol import Completion, Message, TextBlock, TokenUsage, ToolResultBlock
from auditor.scenario.schema import LanguageModel, RunBudget
from tests.auditor.provider.conftest import CHAT, ask
from tests.auditor.provider.servers import Fault, Loopback, Say

CLAUDE = LanguageModel(name="anthropic/claude-opus-5-5", max_tokens=100)
PRICE = {"input": 10.0, "output": 1000.0}


def reply(total: int) -> Completion:
    usage = TokenUsage(input_tokens=total, output_tokens=3)
    return Completion(content=(), stop="end", usage=usage)


def test_the_bound_of_a_request_covers_its_bytes_and_the_longest_reply() -> None:
    request = ask("ü" * 500, tools=(CHAT,), output_schema={"type": "object"})
    bound = Estimator().bound(request, CLAUDE)
    assert bound.input_tokens >= 1000 + len(CHAT.description)
    assert bound.output_tokens == 100
    assert Estimator().bound(ask(max_tokens=7), CLAUDE).output_tokens == 7
    # The dearest input is what is written to the cache, at 5 dollars per million.
    assert bound.dollars == pytest.approx((bound.input_tokens * 5 + 100 * 20) / 1e6)


def test_what_a_reply_tells_of_a_conversation_tightens_the_next_bound() -> None:
    estimator = Estimator()
    first = ask("word " * 4000)
    loose = estimator.bound(first, CLAUDE).input_tokens
    estimator.learn(first, reply(4100))
    said = Message(role="assistant", content=(TextBlock(text="Fine."),))
    result = Message(role="user", content=(ToolResultBlock(id="t", text="x" * 100),))
    longer = ask(messages=(*first.messages, said, result))
    tight = estimator.bound(longer, CLAUDE).input_tokens
    assert 4100 + 100 < tight < 4100 + 500 < loose
    other = longer.model_copy(update={"system": "Another."})
    assert estimator.bound(other, CLAUDE).input_tokens > loose


@pytest.mark.parametrize(
    ("left", "limit"),
    [
        ({"dollars": None, "auditor_tokens": None}, None),
        ({"dollars": 0.5, "auditor_tokens": 100}, None),
        ({"dollars": 0.4, "auditor_tokens": None}, "dollars"),
        ({"auditor_tokens": 99}, "auditor_tokens"),
    ],
)
def test_a_request_that_could_exceed_a_limit_is_told(
    left: dict[str, float | None], limit: str | None
) -> None:
    assert limit_at_risk(Bound(1000, 100, 0.5), left) == limit
    assert limit_at_risk(Bound(1000, 100, None), {"dollars": 1e9}) == "dollars"


def test_a_request_that_a_trial_cannot_bear_is_refused_with_the_limit_s_name() -> None:
    estimator = Estimator()
    estimator.require(ask(), CLAUDE, {"auditor_tokens": 100, "dollars": 1.0})
    with pytest.raises(BudgetReachedError, match="could take 100 of budget.auditor_tokens"):
        estimator.require(ask(), CLAUDE, {"auditor_tokens": 99})
    with pytest.raises(BudgetReachedError) as caught:
        estimator.require(ask(), CLAUDE, {"dollars": 0.001})
    assert caught.value.limit == "dollars"


def metered(server: Loopback, folder: Path, limits: dict[str, Any], **more: Any) -> Any:
    chosen = {"max_tokens": 10, "price": PRICE, **more.pop("settings", {})}
    model = LanguageModel(name=server.openai(), **chosen)
    budget = RunBudget(**limits)
    return make_provider(model, run_budget=budget, ledger=folder / "spending.db", **more)


def ask_often(provider: Any, times: int) -> None:
    for _ in range(times):
        provider.complete(ask())


@settings(max_examples=15)
@given(st.lists(st.integers(0, 10), min_size=1, max_size=30), st.floats(0.001, 0.3))
def test_no_order_of_replies_exceeds_the_limit(
    tmp_path_factory: pytest.TempPathFactory, outputs: list[int], limit: float
) -> None:
    ledger = RunLedger(tmp_path_factory.mktemp("l") / "s.db", RunBudget(dollars=limit))
    paid, stopped = 0.0, False
    for tokens in outputs:
        most = Spent(10 * 0.001, 0)
        try:
            ledger.book(most)
        except BudgetReachedError:
            assert paid + most.dollars > limit
            stopped = True
            continue
        ledger.correct(most, Spent(tokens * 0.001, 0))
        paid += tokens * 0.001
        assert paid <= limit + 1e-9
    assert ledger.spent().dollars == pytest.approx(paid)
    assert stopped or paid <= limit


def test_the_request_that_could_exceed_the_run_s_dollars_is_not_made(tmp_path: Path) -> None:
    with Loopback(lambda body: Say(text="x", usage={"output_tokens": 10})) as server:
        provider = metered(server, tmp_path, {"dollars": 0.05})
        with pytest.raises(BudgetReachedError) as caught:
            ask_often(provider, 100)
        made = len(server.bodies)
    assert caught.value.limit == "run_dollars"
    assert "raise the limit" in str(caught.value)
    # 10 input tokens at 10 and 10 output tokens at 1000 dollars per million.
    each = 10 * 10e-6 + 10 * 1000e-6
    assert 0 < made * each <= 0.05
    spent = RunLedger(tmp_path / "spending.db", RunBudget()).spent()
    assert spent.dollars == pytest.approx(made * each)


def test_tokens_are_limited_for_the_auditor_alone(tmp_path: Path) -> None:
    with Loopback(lambda body: Say(text="x", usage={"output_tokens": 5})) as server:
        auditor = metered(server, tmp_path, {"auditor_tokens": 25}, role="auditor")
        judge = metered(server, tmp_path, {"auditor_tokens": 25}, role="judge")
        ask_often(judge, 4)
        with pytest.raises(BudgetReachedError) as caught:
            ask_often(auditor, 8)
        assert len(server.bodies) == 4 + 4, "the fifth could take 10 of the 5 that are left"
        ask_often(judge, 4)
    assert caught.value.limit == "run_auditor_tokens"


def test_kept_replies_are_not_counted_again(tmp_path: Path) -> None:
    cache = CacheSettings(mode="write", folder=tmp_path / "kept")
    with Loopback() as server:
        provider = metered(server, tmp_path, {"dollars": 1.0}, cache=cache)
        for _ in range(5):
            provider.complete(ask())
        assert len(server.bodies) == 1
    spent = RunLedger(tmp_path / "spending.db", RunBudget()).spent()
    assert spent.dollars == pytest.approx(10 * 10e-6 + 5 * 1000e-6)


@pytest.mark.parametrize(("kind", "counted"), [("status", False), ("timeout", True)])
def test_a_request_without_reply_counts_where_it_was_perhaps_paid(
    tmp_path: Path, kind: str, counted: bool
) -> None:
    with Loopback(faults=repeat(Fault(kind=kind, status=500))) as server:
        provider = metered(server, tmp_path, {"dollars": 1.0}, settings={"timeout": 0.2})
        with pytest.raises(ProviderError):
            provider.complete(ask())
    spent = RunLedger(tmp_path / "spending.db", RunBudget()).spent()
    assert (spent.dollars > 0) == counted


def test_a_limit_in_dollars_needs_a_price(tmp_path: Path) -> None:
    with Loopback() as server:
        provider = metered(server, tmp_path, {"dollars": 1.0}, settings={"price": None})
        with pytest.raises(UsageError, match="price is not known; write its `price`"):
            provider.complete(ask())
    assert server.bodies == []


SPENDER = """
import sys
from pathlib import Path
from auditor.errors import BudgetReachedError
from auditor.provider.ledger import RunLedger, Spent
from auditor.scenario.schema import RunBudget
ledger = RunLedger(Path(sys.argv[1]), RunBudget(dollars=1.0))
n = 0
try:
    while True:
        ledger.book(Spent(0.03, 0))
        ledger.correct(Spent(0.03, 0), Spent(0.02, 0))
        n += 1
except BudgetReachedError:
    print(n)
"""


def test_processes_and_threads_share_one_limit(tmp_path: Path) -> None:
    path = tmp_path / "spending.db"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    words = [sys.executable, "-c", SPENDER, str(path)]
    two = [subprocess.Popen(words, stdout=subprocess.PIPE, env=env, text=True) for _ in range(2)]
    ledger = RunLedger(path, RunBudget(dollars=1.0))

    def spend(_: int) -> int:
        try:
            ledger.book(Spent(0.03, 0))
        except BudgetReachedError:
            return 0
        ledger.correct(Spent(0.03, 0), Spent(0.02, 0))
        return 1

    with ThreadPoolExecutor(4) as pool:
        own = sum(pool.map(spend, range(10)))
    others = sum(int(process.communicate()[0]) for process in two)
    assert own + others == 49
    assert ledger.spent().dollars == pytest.approx(0.98)


def test_what_a_killed_process_had_booked_stays_booked(tmp_path: Path) -> None:
    path = tmp_path / "spending.db"
    RunLedger(path, RunBudget(dollars=1.0)).book(Spent(0.7, 0))
    with pytest.raises(BudgetReachedError):
        RunLedger(path, RunBudget(dollars=1.0)).book(Spent(0.4, 0))
