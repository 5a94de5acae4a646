"""Tools by name: how one is declared, checked, called and found.

A tool is a factory that returns one callable. Built-in tools and those of installed packages
(entry-point group `auditor.tools`) come through the same door, and a tool's module is imported
when the tool is first asked for.
"""

import difflib
import inspect
import json
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from tools.arguments import explain
from tools.docstrings import Help, parse_docstring
from tools.files import ToolFileError, ToolRef, load, parse_ref
from tools.protocols import Capability, ToolContext, ToolError, ToolOutput

GROUP = "auditor.tools"
NEEDS = frozenset(
    {"baseline", "corpus", "oracle", "probe", "reader", "sae", *typing.get_args(Capability)}
)
_BUILT_IN = (
    "activation_diff",
    "activation_oracle",
    "batch_chat",
    "batch_complete",
    "batch_prefill",
    "batch_user",
    "candidate_logprob",
    "chat",
    "compare_with_baseline",
    "complete_text",
    "converse",
    "fork",
    "get_conversation",
    "grep_corpus",
    "logit_lens",
    "nla_compare",
    "nla_explain",
    "nla_grep",
    "nla_steer",
    "nla_verify",
    "prefill",
    "probe",
    "read_result",
    "rewind",
    "sae_feature",
    "sae_neighbours",
    "sae_top",
    "sae_trace",
    "sample_user",
    "search_corpus",
    "self_report",
    "simulate_scenario",
    "steer",
)

Execute = Callable[..., ToolOutput]


class UnknownToolError(ValueError):
    """No tool has this name; the message gives the nearest names and all of them."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        super().__init__(f"no tool is called {name!r}: {hint}tools are {', '.join(names)}")
        self.name = name


class DuplicateToolError(ValueError):
    """Two packages offer different tools under one name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool that an auditor may call."""

    name: str
    """Name, unique among all tools."""
    description: str
    """What it does, costs and is known to miss, for the auditor; the first paragraph is its
    one-line help."""
    parameters: dict[str, Any]
    """JSON Schema of its arguments, an object that forbids unknown keys."""
    needs: frozenset[str]
    """What the scenario must offer: "baseline", "corpus", or capabilities of the target."""
    execute: Execute
    """The callable behind it; use `call`, which checks the arguments."""
    arguments: type[BaseModel]
    """The model that checks arguments."""
    source: str = ""
    """Where the method comes from, for people."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Arguments that every call gets; they are in no schema."""

    def call(self, ctx: ToolContext, arguments: Mapping[str, Any]) -> ToolOutput:
        """Check the arguments and run the tool.

        Args:
            ctx: What the call may touch.
            arguments: JSON-able arguments by name.

        Returns:
            The whole result, whose items are JSON-able.

        Raises:
            ToolError: When the arguments are wrong, or the tool cannot do what they ask.
            TypeError: When the tool breaks its contract and returns what JSON cannot hold.
        """
        try:
            checked = self.arguments.model_validate_json(json.dumps(dict(arguments)))
        except ValidationError as error:
            raise ToolError(explain(self.name, self.parameters, error)) from None
        except (TypeError, ValueError, RecursionError):
            raise ToolError(f"{self.name}: the arguments are not plain JSON values") from None
        given = {key: getattr(checked, key) for key in type(checked).model_fields}
        output = self.execute(ctx, **given, **self.fixed)
        json.dumps(output.items)
        return output

    def with_fixed(self, arguments: Mapping[str, Any]) -> "Tool":
        """Return the tool with some arguments fixed, which calls can no longer give.

        Args:
            arguments: JSON-able arguments by name.

        Raises:
            ToolError: When the tool has no such parameter, or a value is wrong.
        """
        known = self.arguments.model_fields
        unknown = sorted(set(arguments) - set(known))
        if unknown:
            near = difflib.get_close_matches(unknown[0], known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise ToolError(f"{self.name} has no parameter {unknown[0]!r}; {hint}")
        if not arguments:
            return self
        chosen = _part_of(self.arguments, set(arguments))
        try:
            checked = chosen.model_validate_json(json.dumps(dict(arguments)))
        except ValidationError as error:
            raise ToolError(explain(self.name, _schema(chosen), error)) from None
        left = _part_of(self.arguments, set(known) - set(arguments))
        values = {name: getattr(checked, name) for name in arguments}
        return replace(
            self, arguments=left, parameters=_schema(left), fixed={**self.fixed, **values}
        )

    def missing(
        self,
        *,
        capabilities: Iterable[str],
        baseline: bool,
        corpus: bool,
        reader: bool = False,
        probe: bool = False,
        sae: bool = False,
        oracle: bool = False,
    ) -> tuple[str, ...]:
        """Say which of the tool's needs are not met, sorted.

        Args:
            capabilities: What the target can do.
            baseline: Whether there is a baseline.
            corpus: Whether there is a corpus.
            reader: Whether there is a reader of activations.
            probe: Whether there is a probe.
            sae: Whether there is a sparse autoencoder.
            oracle: Whether there is an activation oracle.
        """
        offered = set(capabilities)
        there = {
            "baseline": baseline,
            "corpus": corpus,
            "reader": reader,
            "probe": probe,
            "sae": sae,
            "oracle": oracle,
        }
        offered |= {what for what, is_there in there.items() if is_there}
        return tuple(sorted(self.needs - offered))


def tool(
    *, needs: Iterable[str] = (), name: str | None = None
) -> Callable[[Callable[[], Execute]], Tool]:
    """Turn a factory of one `execute(ctx, *, ...)` callable into a tool.

    The name is the factory's; the description and the help of each parameter come from the
    callable's docstring, the schema from its annotations. What its sections `Cost` and `Misses`
    say becomes part of the description, `Source` stands in the reference alone.

    Args:
        needs: What the scenario must offer, see `Tool.needs`.
        name: Another name than the factory's.

    Raises:
        TypeError: When a need is unknown, or the callable's help or annotations are incomplete.
    """
    wanted = frozenset(needs)
    if not wanted <= NEEDS:
        raise TypeError(f"unknown needs {sorted(wanted - NEEDS)}; there are {sorted(NEEDS)}")

    def declare(factory: Callable[[], Execute]) -> Tool:
        execute, called = factory(), name or factory.__name__
        parsed = parse_docstring(execute)
        if not parsed.description:
            raise TypeError(f"tool {called!r} has no description in its docstring")
        model = _arguments_model(called, execute, parsed.parameters)
        return Tool(
            name=called,
            description=_briefing(parsed),
            source=parsed.notes.get("Source", ""),
            parameters=_schema(model),
            needs=wanted,
            execute=execute,
            arguments=model,
        )

    return declare


def _briefing(help_: Help) -> str:
    """Put what an auditor should know of a tool into paragraphs."""
    notes = [f"{name}: {help_.notes[name]}" for name in ("Cost", "Misses") if name in help_.notes]
    return "\n\n".join([help_.description, *notes])


def _part_of(model: type[BaseModel], names: set[str]) -> type[BaseModel]:
    """Return a model of some of a model's fields, in their order."""
    fields: dict[str, Any] = {
        name: (field.annotation, field)
        for name, field in model.model_fields.items()
        if name in names
    }
    made: type[BaseModel] = create_model(model.__name__, __config__=model.model_config, **fields)
    return made


def _arguments_model(name: str, execute: Execute, help_: Mapping[str, str]) -> type[BaseModel]:
    hints = typing.get_type_hints(execute, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in list(inspect.signature(execute).parameters.values())[1:]:
        key = parameter.name
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            raise TypeError(f"tool {name!r}: parameter {key!r} must be keyword-only")
        if key not in hints or not help_.get(key):
            raise TypeError(f"tool {name!r}: parameter {key!r} needs an annotation and help text")
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        fields[key] = (hints[key], Field(default, description=help_[key]))
    unknown = sorted(set(help_) - set(fields) - {"ctx"})
    if unknown:
        raise TypeError(f"tool {name!r}: help for parameters that it does not have: {unknown}")
    config = ConfigDict(extra="forbid", strict=True, frozen=True)
    model: type[BaseModel] = create_model(f"{name}_arguments", __config__=config, **fields)
    return model


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """JSON Schema without the titles that pydantic makes up."""

    def untitled(node: Any) -> Any:
        if isinstance(node, list):
            return [untitled(part) for part in node]
        if not isinstance(node, dict):
            return node
        return {
            key: {name: untitled(sub) for name, sub in part.items()}
            if key in ("properties", "$defs")
            else untitled(part)
            for key, part in node.items()
            if key != "title"
        }

    schema: dict[str, Any] = untitled(model.model_json_schema())
    return schema


class Registry:
    """Tools by name, each imported when first asked for."""

    def __init__(self, entries: Iterable[EntryPoint]) -> None:
        """Index entry points by name.

        Raises:
            DuplicateToolError: When two entries share a name and point to different objects.
        """
        self._entries: dict[str, EntryPoint] = {}
        self._tools: dict[str, Tool] = {}
        for entry in entries:
            there = self._entries.setdefault(entry.name, entry)
            if there.value != entry.value:
                raise DuplicateToolError(
                    f"two tools are called {entry.name!r}: {there.value} and {entry.value}; "
                    "uninstall one of the packages or rename its tool"
                )

    @classmethod
    def discover(cls) -> "Registry":
        """Index the built-in tools and those of installed packages."""
        return cls([*_built_in_entries(), *entry_points(group=GROUP)])

    @classmethod
    def built_in(cls) -> "Registry":
        """Index the built-in tools alone."""
        return cls(_built_in_entries())

    def find(self, name: str) -> Tool:
        """Return one tool.

        Args:
            name: Its name, or `FILE.py:NAME` for one in a file.

        Raises:
            UnknownToolError: When no tool has this name.
            ToolFileError: When a file does not give such a tool.
            TypeError: When the entry point leads to something else than a tool of this name.
        """
        ref = parse_ref(name)
        if ref is not None:
            return self._in_file(ref)
        if name not in self._entries:
            raise UnknownToolError(name, self._entries)
        if name not in self._tools:
            entry = self._entries[name]
            loaded = entry.load()
            if not isinstance(loaded, Tool) or loaded.name != name:
                raise TypeError(f"{entry.value} is not a tool called {name!r}")
            self._tools[name] = loaded
        return self._tools[name]

    def _in_file(self, ref: ToolRef) -> Tool:
        found = load(ref)
        if not isinstance(found, Tool):
            raise ToolFileError(f"{ref} is no tool; put @tool() of tools.registry above it")
        if found.name in self._entries:
            raise ToolFileError(
                f"{ref} is called {found.name!r}, as an installed tool is; rename it"
            )
        return found

    def registered(self) -> dict[str, Tool]:
        """Return all tools by name, sorted."""
        return {name: self.find(name) for name in sorted(self._entries)}


def _built_in_entries() -> list[EntryPoint]:
    return [EntryPoint(name, f"tools.{name}:{name}", GROUP) for name in _BUILT_IN]


@cache
def _default() -> Registry:
    return Registry.discover()


def find(name: str) -> Tool:
    """Return one of the installed tools, or one in a file (`FILE.py:NAME`).

    Raises:
        UnknownToolError: When no tool has this name.
        ToolFileError: When a file does not give such a tool.
    """
    return _default().find(name)


def tools_of_row(
    names: Iterable[str], settings: Mapping[str, Mapping[str, Any]] | None = None
) -> list[Tool]:
    """Return the tools of one row, with the arguments fixed that its settings fix.

    Args:
        names: Names, or `FILE.py:NAME`.
        settings: Arguments by the tool's name.

    Raises:
        UnknownToolError: When no tool has a name.
        ToolFileError: When a file does not give such a tool.
        ToolError: When a setting is wrong.
    """
    return [one.with_fixed((settings or {}).get(one.name, {})) for one in map(find, names)]


def registered() -> dict[str, Tool]:
    """Return all installed tools by name, sorted."""
    return _default().registered()
