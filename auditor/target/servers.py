"""The servers that run a verbalizer, as one backend."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from auditor.errors import OutageError, UsageError
from auditor.scenario.schema import PairSpec, VerbalizerServers

if TYPE_CHECKING:
    from torch import Tensor

    from nla_core.backends import Backend, HttpOptions, ReplicaBackend
    from nla_core.sampling import Generation, Sampling

_ATTEMPTS = 2
"""Times that one server is asked the same before another one is."""


class VerbalizerBackend:
    """Servers of a verbalizer, whose outage stops a run; implements `nla_core.backends.Backend`."""

    def __init__(self, inner: "ReplicaBackend") -> None:
        """Draw from these servers."""
        self._inner = inner

    @property
    def healthy(self) -> "tuple[Backend, ...]":
        """The servers that are given work."""
        return self._inner.healthy

    def close(self) -> None:
        """Close the connections of all servers."""
        self._inner.close()

    def check(self) -> None:
        """Refuse servers that are set up wrongly, or all away.

        Raises:
            OutageError: When no trial could be read for.
        """
        from nla_core.backends import BackendError

        try:
            self._inner.check()
        except BackendError as error:
            raise OutageError(str(error)) from error

    def continue_embeddings(
        self,
        prompts: "Sequence[Tensor]",
        *,
        sampling: "Sampling",
        seeds: Sequence[int],
        stop_ids: frozenset[int] = frozenset(),
    ) -> "list[Generation]":
        """Continue every prompt; see `Backend.continue_embeddings`.

        Raises:
            OutageError: When all servers are away, or turn away whatever they are asked.
            BackendError: When a server refuses these prompts.
        """
        from nla_core.backends import BackendClosedError, BackendUnavailableError

        try:
            return self._inner.continue_embeddings(
                prompts, sampling=sampling, seeds=seeds, stop_ids=stop_ids
            )
        except (BackendClosedError, BackendUnavailableError) as error:
            raise OutageError(str(error)) from error


def server_backend(pair: PairSpec) -> VerbalizerBackend | None:
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
    backends = [_backend(servers, url, pair.av, key, options) for url in servers.urls]
    return VerbalizerBackend(ReplicaBackend(backends))


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
