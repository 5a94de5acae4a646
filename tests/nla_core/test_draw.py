import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nla_core._draw import draw, uniforms
from nla_core.sampling import Sampling

LOGITS = st.lists(
    st.one_of(st.floats(-30, 30, width=32), st.just(-math.inf)), min_size=1, max_size=40
).filter(lambda row: max(row) > -math.inf)
ALMOST_ONE = 1 - 2**-53


@given(
    LOGITS,
    st.sampled_from([0.01, 0.3, 0.9, 1.0]),
    st.sampled_from([0.1, 1.0, 3.0]),
    st.one_of(st.floats(0, ALMOST_ONE), st.sampled_from([0.0, ALMOST_ONE])),
)
def test_only_tokens_of_the_nucleus_are_drawn(row, top_p, temperature, uniform):
    logits = torch.tensor([row])
    sampling = Sampling(temperature=temperature, top_p=top_p)
    token = int(draw(logits, sampling, torch.tensor([uniform], dtype=torch.float64))[0])
    probs = (logits[0] / temperature).softmax(-1)
    assert 0 <= token < len(row)
    assert probs[token] > 0
    likelier = probs[probs > probs[token]].sum()
    assert likelier < top_p + 1e-5


@given(LOGITS)
def test_equal_steps_through_the_unit_interval_visit_tokens_in_proportion(row):
    logits = torch.tensor([row])
    n = 2000
    steps = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    drawn = draw(logits.expand(n, -1), Sampling(), steps)
    counts = torch.bincount(drawn, minlength=len(row)) / n
    assert (counts - logits[0].softmax(-1)).abs().max() <= 1.5 / n


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_temperature_zero_and_almost_zero_take_the_largest_logit(dtype):
    logits = torch.tensor([[0.0, 3.0, -2.0], [5.0, 3.0, -2.0]], dtype=dtype)
    for temperature in (0.0, 1e-30):
        drawn = draw(logits, Sampling(temperature=temperature), torch.tensor([0.99, 0.99]))
        assert drawn.tolist() == [1, 0]


@pytest.mark.parametrize("top_p", [0.5, 1.0])
def test_logits_that_are_not_numbers_are_marked(top_p):
    logits = torch.full((1, 5), float("nan"))
    assert draw(logits, Sampling(top_p=top_p), torch.tensor([0.5])).tolist() == [5]


def test_a_rows_numbers_depend_on_its_seed_alone_and_not_on_how_many_are_drawn():
    few, many = uniforms([7, 8], 3), uniforms([8, 2**63 - 1, 7], 50)
    torch.testing.assert_close(few, many[[2, 0], :3], atol=0, rtol=0)
    assert 0 <= many.min() < many.max() < 1
    assert len(set(many.flatten().tolist())) == 150
