"""What providers that ask through an SDK share: settings, the way to a server, what goes wrong."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from auditor.provider._attempts import BILLING, Caller, Persistence, Trouble, persist
from auditor.provider._http import SENSELESS, broken, refusal, said_in
from auditor.provider.clock import Clock
from auditor.provider.gate import gate_of
from auditor.provider.names import ModelName, key_from
from auditor.provider.prices import dollars_of
from auditor.provider.protocol import Completion, ContentBlock, StopReason, TokenUsage
from auditor.scenario.schema import LanguageModel

_TOO_MUCH = (400, 413)


class SdkProvider(ABC):
    """A model behind an SDK; safe to call from several threads."""

    _too_long: tuple[str, ...] = ()
    """Words by which an error tells of a full context."""
    _no_money: tuple[str, ...] = ()
    """Words by which an error tells of an account that may spend no more."""

    def __init__(
        self, model: LanguageModel, name: ModelName, *, clock: Clock, persistence: Persistence
    ) -> None:
        """Prepare, without connecting; the key must be in the environment where one is needed.

        Args:
            model: The settings.
            name: The parsed name.
            clock: What waits go by.
            persistence: How often is asked again.
        """
        self._model, self._name = model, name
        self._key_variable = name.key_variable(model.key_env)
        self._secret = key_from(self._key_variable)
        self._client = self._connect()
        self._caller = Caller(
            name=self.name,
            gate=gate_of(f"{name.scheme} {str(self._client.base_url).rstrip('/')}", clock),
            most=model.concurrency,
            clock=clock,
            persistence=persistence,
            secret=self._secret,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @property
    def name(self) -> str:
        """`provider/model`, for records."""
        return str(self._name)

    @abstractmethod
    def _sdk(self) -> Any:
        """Return the SDK's module."""

    @abstractmethod
    def _connect(self) -> Any:
        """Return the SDK's client."""

    def _persist(self, once: Callable[[], Completion]) -> Completion:
        """Exchange until there is a reply or no more attempt is due; see `persist`."""
        return persist(lambda: self._guarded(once), self._caller)

    def _guarded(self, once: Callable[[], Completion]) -> Completion:
        """Exchange once, and turn what goes wrong into trouble of one kind."""
        import httpx2

        sdk = self._sdk()
        try:
            return once()
        except sdk.APIStatusError as error:
            return self._refused(error)
        except (sdk.APIConnectionError, httpx2.HTTPError, OSError) as error:
            cause = error.__cause__ if isinstance(error, sdk.APIError) else error
            shown = cause if isinstance(cause, Exception) else error
            timeout = self._model.timeout
            raise broken(shown, timeout=timeout, secret=self._secret) from None
        except (sdk.APIError, *SENSELESS) as error:
            raise Trouble(f"answered what makes no sense ({type(error).__name__})") from None

    def _refused(self, error: Any) -> Completion:
        said = said_in(error.body) or str(error.message)
        told = f"{getattr(error, 'code', None)} {said}".lower()
        if error.status_code in _TOO_MUCH and any(words in told for words in self._too_long):
            nothing = TokenUsage(input_tokens=0, output_tokens=0)
            return self._completion((), "context_full", nothing)
        trouble = self._trouble(error, said)
        if any(words in told for words in self._no_money):
            # Some say so with the status of a crowd, or of a faulty request.
            trouble.passing, trouble.for_all, trouble.crowded = False, True, False
            trouble.advice = BILLING
        raise trouble from None

    def _trouble(self, error: Any, said: str) -> Trouble:
        return refusal(error.response, said, key=self._key_variable, secret=self._secret)

    def _completion(
        self,
        content: tuple[ContentBlock, ...],
        stop: StopReason,
        usage: TokenUsage,
        called: str = "",
    ) -> Completion:
        return Completion(
            content=content,
            stop=stop,
            usage=usage,
            dollars=dollars_of(self._model, usage, called=called),
            model=called or self._name.model,
        )
