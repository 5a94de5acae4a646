"""What a run settles for all its providers: where replies are kept, and what may be spent."""

from collections.abc import Iterator
from pathlib import Path

from auditor.errors import UsageError
from auditor.provider.cache import CacheMode, CacheSettings
from auditor.provider.factory import ProviderSettings
from auditor.provider.preflight import environment_mistakes
from auditor.scenario.schema import LanguageModel, ResolvedScenario, ServedModel

CACHE_FOLDER = ".cache/replies"
"""Where runs of one folder share kept replies."""
LEDGER_FILE = "spending.db"


def provider_settings(
    resolved: ResolvedScenario, run_dir: Path, cache: CacheMode
) -> ProviderSettings:
    """Return what holds for every provider of a run.

    Args:
        resolved: The scenario.
        run_dir: Folder of the run, where its spending is kept; the replies are kept beside it.
        cache: Whether replies are kept.
    """
    return ProviderSettings(
        cache=CacheSettings(mode=cache, folder=run_dir.parent / CACHE_FOLDER),
        run_budget=resolved.scenario.run_budget,
        ledger=run_dir / LEDGER_FILE,
    )


def check_providers(resolved: ResolvedScenario) -> None:
    """Look for keys and packages that the run's language models need, before any work.

    Raises:
        UsageError: With every one that is missing.
    """
    found = [what for model in _models(resolved) for what in environment_mistakes(model)]
    if found:
        raise UsageError("\n".join(dict.fromkeys(found)))


def _models(resolved: ResolvedScenario) -> Iterator[LanguageModel]:
    scenario = resolved.scenario
    for role in (scenario.auditor, scenario.judge):
        if role.kind == "model" and role.model is not None:
            yield role.model
    if scenario.writer is not None:
        yield scenario.writer
    for target in resolved.targets:
        for model in (target.model, target.baseline):
            if isinstance(model, ServedModel):
                yield model
