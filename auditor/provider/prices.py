"""What a reply costs, in dollars: from the scenario, or from the table of `genai-prices`.

An unknown price is None, never 0. A model that runs here, and a script, cost nothing.
"""

from typing import NamedTuple

from auditor.provider.names import ModelName, parse_name
from auditor.provider.protocol import TokenUsage
from auditor.scenario.schema import LanguageModel

_MILLION = 1_000_000


class Tokens(NamedTuple):
    """Tokens of one reply, each counted once."""

    fresh: int
    """Input that was neither read from nor written to a prompt cache."""
    read: int
    written: int
    output: int


def dollars_of(model: LanguageModel, usage: TokenUsage, *, called: str = "") -> float | None:
    """Return what a reply cost; None when the price or the tokens are not known.

    Args:
        model: Who replied.
        usage: The tokens of the reply.
        called: What the provider calls the model, when it says.
    """
    name = parse_name(model.name)
    if not name.over_http:
        return 0.0
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    tokens = Tokens(
        usage.input_tokens,
        usage.cache_read_tokens or 0,
        usage.cache_write_tokens or 0,
        usage.output_tokens,
    )
    return _dollars(model, name, tokens, called)


def most_dollars(model: LanguageModel, *, input_tokens: int, output_tokens: int) -> float | None:
    """Return the most that a reply with so many tokens can cost; None when not known.

    All input is taken at the dearer of the prices for fresh and for cached input.
    """
    name = parse_name(model.name)
    if not name.over_http:
        return 0.0
    cases = (
        Tokens(input_tokens, 0, 0, output_tokens),
        Tokens(0, 0, input_tokens, output_tokens),
    )
    found = [_dollars(model, name, tokens, "") for tokens in cases]
    known = [one for one in found if one is not None]
    return max(known, default=None)


def _dollars(model: LanguageModel, name: ModelName, tokens: Tokens, called: str) -> float | None:
    price = model.price
    if price is not None:
        read = price.input if price.cache_read is None else price.cache_read
        written = price.input if price.cache_write is None else price.cache_write
        total = tokens.fresh * price.input + tokens.read * read
        return (total + tokens.written * written + tokens.output * price.output) / _MILLION
    for candidate in dict.fromkeys((called, name.model)):
        found = _from_table(model, name, candidate, tokens) if candidate else None
        if found is not None:
            return found
    return None


def _from_table(model: LanguageModel, name: ModelName, called: str, tokens: Tokens) -> float | None:
    from genai_prices import Usage, calc_price

    # The table counts cached tokens inside the input, our records outside.
    usage = Usage(
        input_tokens=tokens.fresh + tokens.read + tokens.written,
        cache_read_tokens=tokens.read,
        cache_write_tokens=tokens.written,
        cache_write_1h_tokens=tokens.written if model.cache_ttl == "1h" else 0,
        output_tokens=tokens.output,
    )
    try:
        if name.base_url is None or name.scheme == "anthropic":
            found = calc_price(usage, called, provider_id=name.scheme)
        else:
            found = calc_price(usage, called, provider_api_url=name.base_url)
    except LookupError:
        return None
    return float(found.total_price)
