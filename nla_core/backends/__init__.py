"""Where a verbalizer's model runs: in this process, or behind a server that takes embeddings."""

from nla_core.backends._http import HttpOptions
from nla_core.backends.protocol import (
    Backend,
    BackendClosedError,
    BackendError,
    BackendUnavailableError,
)
from nla_core.backends.replicas import ReplicaBackend, ReplicaOptions, Replicas
from nla_core.backends.sglang import SGLangBackend
from nla_core.backends.transformers_backend import TransformersBackend
from nla_core.backends.vllm import VLLMBackend

__all__ = [
    "Backend",
    "BackendClosedError",
    "BackendError",
    "BackendUnavailableError",
    "HttpOptions",
    "ReplicaBackend",
    "ReplicaOptions",
    "Replicas",
    "SGLangBackend",
    "TransformersBackend",
    "VLLMBackend",
]
