"""A language model as the describer of a training, for recipes of real models.

A recipe names it as `describer: auditor.provider.describer:language_model`.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from auditor.errors import UsageError
from auditor.provider.factory import make_provider
from auditor.provider.protocol import Message, Provider, Request
from auditor.scenario.schema import LanguageModel
from nla_core.training.describe import Complete, LanguageModelDescriber

MODEL_VARIABLE = "AUDITOR_DESCRIBER"
"""Environment variable that names the model, as a scenario does: anthropic/MODEL, for example."""
CACHE_VARIABLE = "AUDITOR_DESCRIPTIONS"
"""Environment variable that names the file of what it said; left out: descriptions.jsonl here."""
_MOST_TOKENS = 400
_AT_A_TIME = 32


def language_model(tokenizer: Any) -> LanguageModelDescriber:
    """Return the describer whose model the environment names; the tokenizer is not needed.

    Raises:
        UsageError: When no model is named, or it cannot be asked.
    """
    name = os.environ.get(MODEL_VARIABLE)
    if not name:
        raise UsageError(
            f"this recipe's describer is a language model, and {MODEL_VARIABLE} names none: "
            f"export {MODEL_VARIABLE}=anthropic/MODEL"
        )
    model = LanguageModel(name=name, max_tokens=_MOST_TOKENS, concurrency=_AT_A_TIME)
    cache = Path(os.environ.get(CACHE_VARIABLE, "descriptions.jsonl"))
    return LanguageModelDescriber(
        completing(make_provider(model)), cache, model=name, batch_size=_AT_A_TIME
    )


def completing(provider: Provider) -> Complete:
    """Return what sends a batch of prompts at once; a reply without words is none.

    An outage goes through to the caller: what was said before it is in the describer's file.
    """

    def one(prompt: str) -> str | None:
        return provider.complete(Request(system="", messages=(Message.user(prompt),))).text or None

    def complete(prompts: Sequence[str]) -> list[str | None]:
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            return list(pool.map(one, prompts))

    return complete
