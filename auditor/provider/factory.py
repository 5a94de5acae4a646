"""From the name of a language model to a provider that can be asked."""

from functools import cache
from pathlib import Path
from typing import Literal

from auditor.errors import UsageError
from auditor.provider._attempts import Persistence
from auditor.provider.cache import CachedProvider, CacheSettings
from auditor.provider.clock import Clock, default_clock
from auditor.provider.ledger import MeteredProvider, RunLedger
from auditor.provider.names import ModelName, parse_name
from auditor.provider.preflight import environment_mistakes, file_mistakes
from auditor.provider.protocol import Provider
from auditor.records import Record
from auditor.scenario.schema import LanguageModel, RunBudget

Role = Literal["auditor", "judge", "target", "writer"]
NO_CACHE = CacheSettings()
NO_LIMITS = RunBudget()


class ProviderSettings(Record):
    """What holds for every provider of a run; plain values, so that a worker can be told of it."""

    cache: CacheSettings = NO_CACHE
    run_budget: RunBudget = NO_LIMITS
    ledger: Path | None = None
    """File of the run's spending; None when nothing is limited."""

    def make(self, model: LanguageModel, role: Role, *, raw_text: bool = False) -> Provider:
        """Make the provider of one role; see `make_provider`."""
        return make_provider(
            model,
            role=role,
            cache=self.cache,
            run_budget=self.run_budget,
            ledger=self.ledger,
            raw_text=raw_text,
        )


def make_provider(
    model: LanguageModel,
    *,
    role: Role = "auditor",
    cache: CacheSettings = NO_CACHE,
    run_budget: RunBudget = NO_LIMITS,
    ledger: Path | None = None,
    raw_text: bool = False,
    clock: Clock | None = None,
    persistence: Persistence | None = None,
) -> Provider:
    """Make the provider of a language model, without asking it anything.

    A kept reply (`cache`) is not counted against the run's budget; a request that is made is.

    Args:
        model: The settings; paths in its name must be absolute or relative to the working folder.
        role: Who speaks through it; the auditor's tokens are limited for a run.
        cache: Where replies are kept.
        run_budget: Limits of the run.
        ledger: File of the run's spending; without one the limits of the run are not watched.
        raw_text: Whether the one text of each request is continued, without a chat template; for
            servers of OpenAI's kind alone.
        clock: What waits go by; None takes the default one.
        persistence: How often is asked again; None takes the default.

    Raises:
        UsageError: When the name is wrong, or a key, a package or a file is missing; one line that
            says what to set.
    """
    name = parse_name(model.name)
    mistakes = [*file_mistakes(model), *environment_mistakes(model)]
    if mistakes:
        raise UsageError(mistakes[0])
    waits = (clock or default_clock(), persistence or Persistence())
    provider = _text_server(model, name, *waits) if raw_text else _bare(model, name, *waits)
    limited = run_budget.dollars is not None or run_budget.auditor_tokens is not None
    if limited and ledger is not None:
        provider = MeteredProvider(
            provider,
            model,
            ledger=_ledger(ledger, run_budget),
            limits=run_budget,
            counts_tokens=role == "auditor",
        )
    if cache.mode != "off":
        provider = CachedProvider(provider, model, cache, source=_source(name))
    return provider


@cache
def _ledger(path: Path, limits: RunBudget) -> RunLedger:
    return RunLedger(path, limits)


def _source(name: ModelName) -> str:
    """Return what changes with the files behind a name, whose replies are then others."""
    path = Path(name.model).expanduser()
    if name.over_http or not path.exists():
        return ""
    files = [path] if path.is_file() else sorted(one for one in path.iterdir() if one.is_file())
    return "\n".join(f"{f.name} {f.stat().st_size} {f.stat().st_mtime_ns}" for f in files)


def _bare(
    model: LanguageModel, name: ModelName, clock: Clock, persistence: Persistence
) -> Provider:
    if name.scheme == "anthropic":
        from auditor.provider._anthropic import AnthropicProvider

        return AnthropicProvider(model, name, clock=clock, persistence=persistence)
    if name.scheme == "openai":
        from auditor.provider._openai import OpenAIProvider

        return OpenAIProvider(model, name, clock=clock, persistence=persistence)
    if name.scheme == "hf":
        from auditor.provider._local import LocalProvider

        return LocalProvider(model, name)
    return _script(name, _source(name))


def _text_server(
    model: LanguageModel, name: ModelName, clock: Clock, persistence: Persistence
) -> Provider:
    from auditor.provider._openai import RawTextProvider

    if name.scheme != "openai":
        raise UsageError(f"{model.name} does not continue raw text; only openai/… servers may")
    return RawTextProvider(model, name, clock=clock, persistence=persistence)


@cache
def _script(name: ModelName, source: str) -> Provider:
    """Run a script once for each state of its file."""
    from auditor.provider.replay import load_script

    path = Path(name.model).expanduser().absolute()
    # The file's own name is enough for records, which paths have no place in.
    label = f"scripted/{path.name}:{name.attribute}"
    return load_script(path, name.attribute or "", name=label)
