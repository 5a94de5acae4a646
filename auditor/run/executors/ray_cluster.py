"""Trials on a Ray cluster: actors hold targets and readers, the driver hands out and records.

An actor loads its own models, holds a share of a GPU, and runs several trials at once in threads
whose model work shares batches. Trials travel as names, and events and checkpoints come back, so
the two sides need the same version of this package and nothing else in common but the files that
the scenario names. A trial whose actor is lost goes on in another one from its last checkpoint.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from auditor.errors import AuditStoppedError, RunError, RunStoppedError, UsageError
from auditor.provider.factory import ProviderSettings
from auditor.run import checkpoints as saved_states
from auditor.run.executors.protocol import Mailbox, Saved
from auditor.run.options import Hooks
from auditor.run.plan import PlannedTrial
from auditor.run.stopping import stopped_for
from auditor.run.store import parse_event, read_events, trial_path
from auditor.run.workers import Begin, Died, Happened, Keep, Message
from auditor.scenario.schema import ResolvedScenario

if TYPE_CHECKING:
    from auditor.run.executors.ray_host import Hello, Line

ATTEMPTS = 3
"""How often a trial is begun before it counts as errored because its actors were lost."""
STARTS = 3
"""How often in a row a place may lose its actor before it has said hello."""
_WAITING_SECONDS = 30.0
_TICK = 0.2
_AHEAD = 2
"""Events of a trial that may be under way before its actor waits for the driver."""
_log = logging.getLogger(__name__)


class ActorLostError(Exception):
    """An actor, or the node under it, is gone."""


class RayExecutor:
    """Runs trials in actors of a Ray cluster."""

    def __init__(
        self,
        resolved: ResolvedScenario,
        *,
        run_dir: Path,
        checkpoints: Path | None = None,
        hooks: Hooks | None = None,
        actors: int = 1,
        concurrency: int = 1,
        threads: int = 1,
        address: str | None = None,
        num_gpus: float = 0.0,
        num_cpus: float = 1.0,
        providers: ProviderSettings | None = None,
    ) -> None:
        """Prepare; nothing is connected before the first trial.

        Args:
            resolved: The scenario; the paths that it names must exist on every node.
            run_dir: Folder of the run, where unfinished trials are read; here, not on the nodes.
            checkpoints: Folder of their checkpoints; None begins every trial anew.
            hooks: What the caller adds.
            actors: How many hold models at once.
            concurrency: Trials at once in each.
            threads: Torch threads of each.
            address: Of the cluster; None is `RAY_ADDRESS`, or else a cluster on this machine that
                is started here and ends with the run.
            num_gpus: GPUs, or a share of one, of each actor.
            num_cpus: CPUs of each actor.
            providers: What holds for models behind providers; keys are in each node's environment.
        """
        self._resolved, self._n, self._concurrency = resolved, actors, concurrency
        self._run_dir, self._checkpoints = run_dir, checkpoints
        self._hooks = hooks or Hooks()
        self._address = address
        self._resources = {"num_gpus": num_gpus, "num_cpus": num_cpus}
        self._threads, self._providers = threads, providers or ProviderSettings()
        self._todo: queue.SimpleQueue[tuple[PlannedTrial, int]] = queue.SimpleQueue()
        self._mail: Mailbox[Message | Saved] = Mailbox()
        self._left = 0
        self._lock = threading.Lock()
        self._places: list[_Place] = []
        self._connected = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the actors; the cluster stays, unless it was started here."""
        self._mail.close()
        for place in self._places:
            place.close()
        if self._connected:
            _ray().shutdown()
            self._connected = False

    def run(self, trials: Sequence[PlannedTrial]) -> Iterator[Message | Saved]:
        """Yield what happens, trials side by side, until all have ended or a stop is asked for.

        Raises:
            RunError: When the cluster cannot be reached, or an actor cannot start.
            UsageError: When Ray is not installed, or a node lacks what the scenario names.
        """
        if not trials:
            return
        self._connect()
        self._left = len(trials)
        for trial in trials:
            self._todo.put((trial, 1))
        self._places = [
            _Place(
                self._resolved,
                self._resources,
                threads=self._threads,
                concurrency=self._concurrency,
                saves=self._checkpoints is not None,
                providers=self._providers,
            )
            for _ in range(min(self._n, len(trials)))
        ]
        for place in self._places:
            for _ in range(self._concurrency):
                threading.Thread(target=self._drive, args=(place,), daemon=True).start()
        threading.Thread(target=self._watch_stop, daemon=True).start()
        yield from self._mail.read(len(self._places) * self._concurrency)

    def _connect(self) -> None:
        ray = _ray()
        if ray.is_initialized():
            return
        try:
            ray.init(address=self._address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:
            where = self._address or "of this machine"
            raise RunError(f"cannot reach the Ray cluster {where}: {_first_line(error)}") from error
        self._connected = True

    def _watch_stop(self) -> None:
        """Pass a request to stop on to the actors, once."""
        while not self._mail.is_closed:
            if self._hooks.stop:
                for place in self._places:
                    place.finish_steps()
                return
            time.sleep(_TICK)

    def _drive(self, place: "_Place") -> None:
        """Carry out one trial after the other in one place, until none is left anywhere."""
        try:
            while not self._is_over():
                # First, so that no trial waits with an actor for which there is no room.
                actor = place.actor(self._is_over)
                try:
                    # A trial of a lost actor may come back, so an empty list is not the end.
                    trial, attempt = self._todo.get(timeout=_TICK)
                except queue.Empty:
                    continue
                if attempt == 1:
                    self._hooks.before_trial(trial)
                self._attempt(place, actor, trial, attempt)
        except AuditStoppedError:
            pass
        except RunStoppedError as error:
            self._hooks.stop.request_for(error)
        except BaseException as error:
            self._mail.fail(error)
        self._mail.leave()

    def _is_over(self) -> bool:
        return self._mail.is_closed or bool(self._hooks.stop) or not self._left

    def _attempt(self, place: "_Place", actor: Any, trial: PlannedTrial, attempt: int) -> None:
        began = time.monotonic()
        # Taken only after all that an attempt before this one sent is written.
        self._mail.put(Begin(trial))
        try:
            for line in place.run(actor, trial, *self._state_of(trial)):
                self._heed(trial, line)
        except ActorLostError as error:
            if self._mail.is_closed or self._hooks.stop:
                raise AuditStoppedError("the run is over") from error
            _log.warning("%s; %s goes on elsewhere", error, trial.key.stem)
            if attempt < ATTEMPTS:
                self._todo.put((trial, attempt + 1))
                return
            why = f"{error} on each of {ATTEMPTS} attempts"
            self._mail.put(Died(trial, why, "", time.monotonic() - began))
        with self._lock:
            self._left -= 1

    def _state_of(self, trial: PlannedTrial) -> tuple[list[str], bytes | None]:
        """Return what is recorded and saved of a trial by attempts before this one."""
        path = trial_path(self._run_dir, trial.key)
        if self._checkpoints is None or not path.exists():
            return [], None
        try:
            past = [event.model_dump_json() for event in read_events(path)]
        except RunError as error:
            _log.warning("trial %s begins anew: %s", trial.key.stem, error)
            return [], None
        return past, saved_states.copy(saved_states.checkpoint_path(self._checkpoints, trial.key))

    def _heed(self, trial: PlannedTrial, line: "Line") -> None:
        match line.what:
            case "event":
                self._mail.put(Happened(trial, parse_event(line.text or "")))
            case "keep":
                self._mail.put(Keep(trial, line.n_events, line.text))
            case "saved":
                self._mail.put(Saved(trial, line.content))
            case "limit" | "outage":
                raise stopped_for(line.what, line.text)
            case "failed":
                raise RunError(line.text)
            case _:
                pass


class _Place:
    """Room for one actor on the cluster; a lost one is followed by another, wherever there is room.

    Its threads share the actor.
    """

    def __init__(
        self,
        resolved: ResolvedScenario,
        resources: dict[str, float],
        *,
        threads: int,
        concurrency: int,
        saves: bool,
        providers: ProviderSettings,
    ) -> None:
        self._providers = providers
        self._resolved, self._resources = resolved, resources
        self._threads, self._concurrency, self._saves = threads, concurrency, saves
        self._actor: Any = None
        self._node = "?"
        self._lock = threading.Lock()
        self._closed = False

    def run(
        self, actor: Any, trial: PlannedTrial, past: Sequence[str], saved: bytes | None
    ) -> Iterator["Line"]:
        """Yield what the trial says until it has ended.

        Raises:
            ActorLostError: When the actor is gone before.
            RunError: When the package itself fails over there.
        """
        ray = _ray()
        stream = actor.trial.options(
            num_returns="streaming", _generator_backpressure_num_objects=_AHEAD
        ).remote(str(trial.key), past, saved)
        try:
            for reference in stream:
                line: Line = ray.get(reference)
                yield line
                if line.what not in ("event", "keep", "saved"):
                    return
        except ray.exceptions.RayTaskError as error:
            raise RunError(f"an actor on node {self._node} failed: {_first_line(error)}") from error
        except ray.exceptions.RayError as error:
            self._discard(actor)
            raise ActorLostError(f"the actor on node {self._node} was lost") from error
        self._discard(actor)
        raise ActorLostError(f"the actor on node {self._node} broke off")

    def finish_steps(self) -> None:
        """Let trials end after the steps that they are at."""
        if self._actor is not None:
            self._actor.stop.remote()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._actor is not None:
                _kill(self._actor)

    def _discard(self, actor: Any) -> None:
        with self._lock:
            if self._actor is actor:
                self._actor = None
        _kill(actor)

    def actor(self, is_over: Callable[[], bool]) -> Any:
        """Return the actor, once it is there.

        Raises:
            RunError: When none can be started.
            AuditStoppedError: When the run is over before there is room for it.
            UsageError: When its node lacks something.
        """
        with self._lock:
            for _ in range(STARTS):
                if self._closed:
                    raise AuditStoppedError("the run is over")
                if self._actor is not None:
                    return self._actor
                self._actor = self._started(is_over)
            if self._actor is None:
                raise RunError(f"an actor was lost {STARTS} times before it had started")
            return self._actor

    def _started(self, is_over: Callable[[], bool]) -> Any:
        """Start an actor and wait until it is there; None when it is lost before."""
        ray = _ray()
        from auditor.run.executors.ray_host import Host

        host: Any = ray.remote(Host).options(
            **self._resources,
            # One more thread than trials, for the question whether it is there.
            max_concurrency=self._concurrency + 1,
        )
        actor = host.remote(
            self._resolved.model_dump_json(),
            self._threads,
            saves=self._saves,
            providers=self._providers.model_dump_json(),
        )
        hello = actor.hello.remote()
        since = time.monotonic()
        told = False
        while not is_over():
            ready, _ = ray.wait([hello], timeout=_TICK)
            if ready:
                break
            if not told and time.monotonic() - since > _WAITING_SECONDS:
                told = True
                _log.warning("no node has room for an actor of %s yet: waiting", self._wanted())
        else:
            _kill(actor)
            raise AuditStoppedError("the run is over")
        try:
            found: Hello = ray.get(hello)
        except ray.exceptions.RayTaskError as error:
            raise RunError(f"an actor cannot start: {_first_line(error)}") from error
        except ray.exceptions.RayError:
            return None
        self._check(found)
        return actor

    def _check(self, hello: "Hello") -> None:
        from auditor.run.record import package_versions

        self._node = hello.node
        ours = package_versions().get("auditor")
        if hello.version != ours:
            raise UsageError(
                f"node {hello.node} has auditor {hello.version} and this machine {ours}: install "
                "the same version on both"
            )
        if hello.mistakes:
            raise UsageError(
                f"node {hello.node} cannot load the scenario's models: {hello.mistakes[0]} (files "
                "must lie under the same path on every node, or be named by hub ids)"
            )

    def _wanted(self) -> str:
        return ", ".join(
            f"{n:g} {name.removeprefix('num_')}" for name, n in self._resources.items()
        )


def _ray() -> Any:
    """Import Ray.

    Raises:
        UsageError: When it is not installed.
    """
    try:
        import ray
    except ImportError:
        raise UsageError(
            "the Ray executor needs the package ray: pip install 'auditor[ray]'"
        ) from None
    return ray


def _kill(actor: Any) -> None:
    ray = _ray()
    try:
        ray.kill(actor)
    except Exception as error:  # whatever it is, the actor is not ours any more
        _log.debug("an actor could not be ended: %s", error)


def _first_line(error: BaseException) -> str:
    cause = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[0] if lines else type(cause).__name__
