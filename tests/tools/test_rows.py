import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.protocols import Reply, ToolError, Usage
from tools.rows import check_allowance, count_tokens

counts = st.integers(1, 200)


@given(rows=counts, max_tokens=st.integers(1, 1024), left=st.integers(0, 250_000))
def test_a_plan_is_refused_exactly_when_it_could_overspend(rows, max_tokens, left):
    ctx = SimpleNamespace(token_allowance=left)
    if rows * max_tokens <= left:
        check_allowance(ctx, rows=rows, max_tokens=max_tokens)
    else:
        with pytest.raises(ToolError):
            check_allowance(ctx, rows=rows, max_tokens=max_tokens)


@given(rows=counts, max_tokens=st.integers(1, 1024), left=st.integers(1, 250_000))
def test_whatever_a_refusal_suggests_fits(rows, max_tokens, left):
    ctx = SimpleNamespace(token_allowance=left)
    try:
        check_allowance(ctx, rows=rows, max_tokens=max_tokens)
    except ToolError as error:
        advice = str(error).split("ask for ", 1)[1]
        plans = [(int(n), max_tokens) for n in re.findall(r"at most (\d+) replies", advice)]
        one = "one reply" in advice
        plans += [(1 if one else rows, int(n)) for n in re.findall(r"of at most (\d+)", advice)]
        assert plans
        for suggested_rows, suggested_tokens in plans:
            assert suggested_rows >= 1
            assert suggested_tokens >= 1
            check_allowance(ctx, rows=suggested_rows, max_tokens=suggested_tokens)


@given(rows=counts, max_tokens=st.integers(1, 1024))
def test_without_an_allowance_nothing_is_refused(rows, max_tokens):
    check_allowance(SimpleNamespace(token_allowance=None), rows=rows, max_tokens=max_tokens)


prices = st.lists(st.none() | st.floats(0, 10), max_size=6)


@given(replies=prices, later=prices)
def test_what_replies_cost_is_summed_and_an_unknown_price_is_not_forgotten(replies, later):
    def spent(*batches):
        ctx = SimpleNamespace(usage=Usage())
        for dollars in batches:
            said = [Reply("a", "", n_tokens=1, finish="stop", dollars=one) for one in dollars]
            count_tokens(ctx, "baseline", said)
        return ctx.usage

    together = spent(replies, later)
    known = [one for one in (*replies, *later) if one]
    assert together.dollars == (pytest.approx(sum(known)) if known else None)
    assert together.unpriced == (None in (*replies, *later))
    added = spent(replies)
    added.add(spent(later))
    assert (added.dollars, added.unpriced) == (pytest.approx(together.dollars), together.unpriced)
