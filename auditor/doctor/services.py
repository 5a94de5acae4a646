"""Language models of a scenario: their packages, keys and servers.

A server is asked only when it is on this machine, for its list of models, and is sent nothing else,
not even a key.
"""

import importlib.util
import ipaddress
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from auditor.doctor.findings import Finding
from auditor.scenario.schema import LanguageModel, ResolvedScenario, ServedModel

TIMEOUT = 2.0
"""Seconds that a server has to answer."""
_KEYS = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY"}
_PACKAGES = {"anthropic": "anthropic", "openai": "openai", "hf": "transformers"}
_OPTIONAL = {"matplotlib": "auditor plot (extra `plots`)", "ray": "--executor ray (extra `ray`)"}


class Role(NamedTuple):
    """A language model and what it does."""

    name: str
    """auditor, judge, target or baseline."""
    model: LanguageModel

    @property
    def provider(self) -> str:
        """anthropic, openai, hf or scripted."""
        return self.model.name.partition("/")[0]

    @property
    def server(self) -> str | None:
        """Address of the server that the scenario names, if it names one."""
        _, at, rest = self.model.name.partition("@http")
        return f"http{rest}".rstrip("/") if at else None

    @property
    def model_id(self) -> str:
        """The model as its provider calls it."""
        return self.model.name.partition("/")[2].partition("@http")[0]


def roles(resolved: ResolvedScenario, *, agents: bool) -> list[Role]:
    """The language models that a run asks, targets behind providers among them.

    Args:
        resolved: The scenario.
        agents: Whether some row has an auditor that chooses its calls.
    """
    scenario = resolved.scenario
    found = []
    if agents and scenario.auditor.kind == "model" and scenario.auditor.model is not None:
        found.append(Role("auditor", scenario.auditor.model))
    if scenario.judge.kind == "model" and scenario.judge.model is not None:
        found.append(Role("judge", scenario.judge.model))
    for target in resolved.targets:
        for name, model in (("target", target.model), ("baseline", target.baseline)):
            # Many targets may share a server, and one baseline most of them.
            if isinstance(model, ServedModel) and Role(name, model) not in found:
                found.append(Role(name, model))
    return found


def service_findings(found: list[Role], environment: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what each language model needs besides weights."""
    for package in dict.fromkeys(_PACKAGES.get(role.provider, "") for role in found):
        if package:
            yield _package(package)
    yield from dict.fromkeys(key for role in found for key in _key(role, environment))
    for role in found:
        yield from _script(role)
    for server, some in _by_server(found).items():
        yield _server(server, some)
    for package, purpose in _OPTIONAL.items():
        if importlib.util.find_spec(package) is None:
            yield Finding(
                what="package", name=package, state="warning",
                detail=f"not installed; only {purpose} needs it",
            )  # fmt: skip


def _package(name: str) -> Finding:
    there = importlib.util.find_spec(name) is not None
    return Finding(
        what="package",
        name=name,
        state="ok" if there else "missing",
        detail="installed" if there else "not installed",
        remedy="" if there else f"pip install {name}",
    )


def _key(role: Role, environment: Mapping[str, str]) -> Iterator[Finding]:
    # A server that the scenario names gets a key only when the scenario names that, too.
    usual = None if role.server is not None else _KEYS.get(role.provider)
    variable = role.model.key_env or usual
    if variable is None:
        return
    there = bool(environment.get(variable))
    yield Finding(
        what="key",
        name=f"{variable} ({role.name})",
        state="ok" if there else "missing",
        detail="set" if there else "not set",
        remedy="" if there else f"export {variable}=…, or name another variable with `key_env`",
    )


def _script(role: Role) -> Iterator[Finding]:
    if role.provider != "scripted":
        return
    path = Path(role.model_id.rpartition(":")[0] or role.model_id)
    there = path.is_file()
    yield Finding(
        what="script",
        name=f"{path} ({role.name})",
        state="ok" if there else "missing",
        detail="there" if there else "there is no such file",
    )


def _by_server(found: list[Role]) -> dict[str, list[Role]]:
    servers: dict[str, list[Role]] = {}
    for role in found:
        if role.server is not None:
            servers.setdefault(role.server, []).append(role)
    return servers


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _server(url: str, some: list[Role]) -> Finding:
    if not is_loopback(url):
        detail = "not on this machine, so it was not asked"
        return Finding(what="server", name=url, state="unknown", detail=detail)
    import httpx

    try:
        with httpx.Client(timeout=TIMEOUT, trust_env=False, follow_redirects=False) as client:
            answer = client.get(f"{url}/models")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        detail = f"does not answer: {type(error).__name__}"
        remedy = "start it, or correct the address"
        return Finding(what="server", name=url, state="missing", detail=detail, remedy=remedy)
    if answer.status_code in (401, 403):
        detail = "answers, and asks for a key; its models were not looked at"
        return Finding(what="server", name=url, state="ok", detail=detail)
    served = _served(answer)
    if served is None:
        detail = f"answers with status {answer.status_code}, and lists no models"
        return Finding(what="server", name=url, state="warning", detail=detail)
    lacking = [role.model_id for role in some if role.model_id not in served]
    if lacking:
        detail = f"serves {', '.join(served) or 'no model'}, and not {lacking[0]}"
        remedy = "start it with that model, or correct the name"
        return Finding(what="server", name=url, state="missing", detail=detail, remedy=remedy)
    detail = f"answers, and serves {', '.join(dict.fromkeys(role.model_id for role in some))}"
    return Finding(what="server", name=url, state="ok", detail=detail)


def _served(answer: Any) -> list[str] | None:
    try:
        return [str(model["id"]) for model in answer.json()["data"]] if answer.is_success else None
    except (ValueError, KeyError, TypeError):
        return None


def environment() -> Mapping[str, str]:
    """The variables of this process."""
    return os.environ
