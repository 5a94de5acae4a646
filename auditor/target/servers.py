"""The servers that run a verbalizer, as one backend."""

import os
from typing import TYPE_CHECKING

from auditor.errors import UsageError
from auditor.scenario.schema import PairSpec, VerbalizerServers

if TYPE_CHECKING:
    from nla_core.backends import Backend, HttpOptions

_ATTEMPTS = 2
"""Times that one server is asked the same before another one is."""


def server_backend(pair: PairSpec) -> "Backend | None":
    """Return what draws from a pair's servers; None when this process runs the verbalizer.

    Raises:
        UsageError: When an address or a key cannot be one.
    """
    if pair.servers is None:
        return None
    from nla_core.backends import HttpOptions, ReplicaBackend

    servers = pair.servers
    alone = len(servers.urls) == 1
    options = HttpOptions(
        timeout=servers.timeout,
        max_requests=servers.concurrency,
        attempts=HttpOptions().attempts if alone else _ATTEMPTS,
    )
    key = _key(servers)
    return ReplicaBackend([_backend(servers, url, pair.av, key, options) for url in servers.urls])


def _backend(
    servers: VerbalizerServers, url: str, av: str, key: str | None, options: "HttpOptions"
) -> "Backend":
    from nla_core.backends import SGLangBackend, VLLMBackend

    try:
        if servers.kind == "sglang":
            return SGLangBackend(url, api_key=key, options=options)
        return VLLMBackend(url, servers.model or av, api_key=key, options=options)
    except ValueError as error:
        raise UsageError(f"a verbalizer's server: {error}") from error


def _key(servers: VerbalizerServers) -> str | None:
    if servers.key_env is None:
        return None
    key = os.environ.get(servers.key_env)
    if not key:
        raise UsageError(
            f"the environment variable {servers.key_env} holds the key of a verbalizer's servers "
            "and is not set; set it, or delete `key_env`"
        )
    return key
