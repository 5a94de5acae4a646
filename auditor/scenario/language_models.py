"""Language models of a scenario: who speaks through one, where its files are, what it may cost."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from auditor.errors import Mistake, UsageError
from auditor.scenario.diagnose import Loc
from auditor.scenario.document import Document
from auditor.scenario.models import absolute
from auditor.scenario.schema import (
    AnyModel,
    AuditorSpec,
    Budget,
    JudgeSpec,
    LanguageModel,
    RunBudget,
    Scenario,
    ServedModel,
    TargetSpec,
)
from auditor.scenario.validate import salvage

L = TypeVar("L", bound=LanguageModel)
_ROLES: dict[str, type[AuditorSpec] | type[JudgeSpec]] = {
    "auditor": AuditorSpec,
    "judge": JudgeSpec,
}


def locate_model(model: L, folder: Path) -> L:
    """Make the path in a language model's name absolute.

    A hub id stays as it is; a folder is one that is absolute, begins with `.` or `~`, or exists
    under `folder`.

    Args:
        model: The model; one whose name cannot be read is returned as it is.
        folder: Where relative paths start.
    """
    from dataclasses import replace

    from auditor.provider.names import parse_name

    try:
        name = parse_name(model.name)
    except UsageError:
        return model
    path = absolute(name.model, folder)
    local = name.scheme == "scripted" or (
        name.scheme == "hf" and (name.model.startswith((".", "~")) or path.is_dir())
    )
    if not local:
        return model
    return model.model_copy(update={"name": str(replace(name, model=str(path)))})


def locate_roles(scenario: Scenario, folder: Path) -> Scenario:
    """Make the paths in the names of the auditor's and the judge's models absolute."""
    update: dict[str, Any] = {}
    for role in _ROLES:
        spec = getattr(scenario, role)
        if spec.model is not None:
            model = locate_model(spec.model, folder)
            update[role] = spec.model_copy(update={"model": model})
    if scenario.writer is not None:
        update["writer"] = locate_model(scenario.writer, folder)
    return scenario.model_copy(update=update) if update else scenario


def locate_served(model: ServedModel, folder: Path) -> ServedModel:
    """Make the path in the name of a target's script absolute."""
    return locate_model(model, folder) if model.name.startswith("scripted/") else model


def served_mistake(model: ServedModel) -> tuple[str, str] | None:
    """Return the field of a target behind a provider that is wrong, and what is wrong with it."""
    from auditor.provider.names import parse_name
    from auditor.provider.preflight import file_mistakes, name_mistake

    what = name_mistake(model)
    if what is not None:
        return "name", what
    name = parse_name(model.name)
    if name.scheme == "hf":
        return "name", f"a model on this machine is written as `path: {name.model}`"
    files = file_mistakes(model)
    if files:
        return "name", files[0]
    if model.continues_text and (name.scheme != "openai" or name.base_url is None):
        what = f"{model.name} does not continue raw text; only openai/MODEL@BASE_URL may"
        return "continues_text", f"{what}, so delete it"
    return None


def reach(targets: Iterable[TargetSpec]) -> tuple[tuple[str, frozenset[str]], ...]:
    """Return the targets of which some part is behind a provider, and what all their parts can."""
    from auditor.target.served import served_capabilities

    found = []
    for target in targets:
        parts = [m for m in (target.model, target.baseline) if isinstance(m, ServedModel)]
        if parts:
            shared = frozenset.intersection(*(frozenset(served_capabilities(m)) for m in parts))
            found.append((target.id, frozenset[str](shared)))
    return tuple(found)


def check_roles(document: Document, folder: Path, targets: Sequence[TargetSpec]) -> list[Mistake]:
    """Roles have the model that their kind needs, its files are there, and limits can be kept.

    Args:
        document: The scenario.
        folder: Where its relative paths start.
        targets: All targets.
    """
    from auditor.provider.preflight import name_mistake

    mistakes: list[Mistake] = []
    speakers: dict[str, LanguageModel] = {}
    for role, block in _ROLES.items():
        spec = salvage(block, document.data.get(role, {}))
        if spec is None:
            continue
        mistakes += _check_kind(document, role, spec)
        if spec.model is None:
            continue
        found = list(_model_problems(spec.model, folder))
        mistakes += [document.mistake((role, "model", "name"), what) for what in found]
        if spec.kind == "model" and name_mistake(spec.model) is None:
            speakers[role] = spec.model
    writer = salvage(LanguageModel, document.data.get("writer") or {})
    if writer is not None:
        found = list(_model_problems(writer, folder))
        mistakes += [document.mistake(("writer", "name"), what) for what in found]
        if not found:
            speakers["writer"] = writer
    return mistakes + _check_prices(document, speakers, targets)


def _check_kind(document: Document, role: str, spec: AuditorSpec | JudgeSpec) -> list[Mistake]:
    data = document.data.get(role)
    written = data if isinstance(data, dict) else {}
    # What is there and faulty, a model or a kind, is a mistake of its own.
    if spec.kind == "model" and written.get("model") is None:
        what = f"an {role}" if role == "auditor" else f"a {role}"
        return [
            document.mistake(
                (role, "kind"), f"{what} of this kind needs a model; add `model: {{name: …}}`"
            )
        ]
    if spec.kind == written.get("kind", spec.kind) != "model" and spec.model is not None:
        what = f"kind {spec.kind} takes no model; write `kind: model`, or delete `model`"
        return [document.mistake((role, "model"), what, key=True)]
    return []


def _model_problems(model: LanguageModel, folder: Path) -> Iterator[str]:
    from auditor.provider.preflight import file_mistakes, name_mistake

    what = name_mistake(model)
    if what is not None:
        yield what
        return
    yield from file_mistakes(locate_model(model, folder))


def _check_prices(
    document: Document, speakers: dict[str, LanguageModel], targets: Sequence[TargetSpec]
) -> list[Mistake]:
    """A limit in dollars needs prices of all that is limited by it."""
    from auditor.provider.preflight import price_mistake

    everybody = [*speakers.values(), *_served(targets)]
    cases: list[tuple[Loc, Sequence[LanguageModel]]] = []
    budgets = document.data.get("budgets")
    places: list[tuple[Loc, Any]] = [(("budget",), document.data.get("budget"))]
    if isinstance(budgets, dict):
        places += [(("budgets", name), block) for name, block in budgets.items()]
    for loc, written in places:
        budget = None if written is None else salvage(Budget, written)
        paid = [speakers[role] for role in ("auditor", "writer") if role in speakers]
        paid += _served(targets)
        if budget is not None and budget.dollars is not None and paid:
            cases.append((loc, paid))
    run_budget = salvage(RunBudget, document.data.get("run_budget", {}))
    if run_budget is not None and run_budget.dollars is not None:
        cases.append((("run_budget",), everybody))
    found = []
    for loc, models in cases:
        whats = [price_mistake(model, "dollars") for model in models]
        found += [document.mistake((*loc, "dollars"), what) for what in whats if what][:1]
    return found


def _served(targets: Sequence[TargetSpec]) -> Iterator[ServedModel]:
    def parts(target: TargetSpec) -> tuple[AnyModel | None, ...]:
        return target.model, target.baseline

    for target in targets:
        for model in parts(target):
            if isinstance(model, ServedModel):
                yield model
