"""The reference page of scenario files, written from the schema itself.

`python -m auditor.scenario.reference > docs/scenario.md` brings the page up to date.
"""

import inspect
import sys
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, get_args, get_origin
from typing import Union as _Union  # noqa: TID251 (inspected in annotations, never written)

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from auditor.scenario.document import MAX_JSON_BYTES, MAX_YAML_BYTES
from auditor.scenario.nodes import MAX_ALIASES
from auditor.scenario.schema import Block, Scenario, Suite

_BOUNDS = {"gt": "> {}", "ge": "≥ {}", "lt": "< {}", "le": "≤ {}"}


def render() -> str:
    """Render the page: every block of a scenario and of a suite, with every field."""
    blocks = _blocks(Scenario)
    suite_blocks = [block for block in _blocks(Suite) if block not in blocks]
    parts = [
        _INTRODUCTION,
        *(_section(block) for block in blocks),
        _READERS,
        _SUITES,
        *(_section(block) for block in suite_blocks),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _blocks(root: type[Block]) -> list[type[Block]]:
    """`root` and every block under it, in the order of first mention."""
    found = [root]
    for block in found:
        for field in block.model_fields.values():
            found += [one for one in _mentioned(field.annotation) if one not in found]
    return found


def _mentioned(annotation: Any) -> list[type[Block]]:
    if isinstance(annotation, type) and issubclass(annotation, Block):
        return [annotation]
    return [block for part in get_args(annotation) for block in _mentioned(part)]


def _section(block: type[Block]) -> str:
    rows = [
        f"| `{name}` | {_type(field)} | {_default(field)} | {_cell(field.description or '')} |"
        for name, field in block.model_fields.items()
    ]
    head = ["| key | value | default | meaning |", "|---|---|---|---|"]
    return "\n".join([f"## {block.__name__}", "", inspect.getdoc(block) or "", "", *head, *rows])


def _type(field: FieldInfo) -> str:
    bounds = [
        template.format(f"{getattr(rule, name):,}".replace(",", " "))
        for rule in field.metadata
        for name, template in _BOUNDS.items()
        if getattr(rule, name, None) is not None
    ]
    least = [rule.min_length for rule in field.metadata if getattr(rule, "min_length", None)]
    notes = [*bounds, *(f"at least {n}" for n in least)]
    return _cell(_words(field.annotation) + (f", {', '.join(notes)}" if notes else ""))


def _words(annotation: Any) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(args[0])
    if origin in (_Union, UnionType):
        return " or ".join(_words(part) for part in args)
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in args)
    if origin is tuple:
        return f"list of {_words(args[0])}"
    if origin is dict:
        keys = "whole numbers" if _words(args[0]) == "whole number" else "names"
        return f"mapping of {keys} to {_words(args[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Block):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    names = {
        str: "text",
        int: "whole number",
        float: "number",
        bool: "true or false",
        NoneType: "null",
        Any: "any value",
    }
    return names[annotation]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined or isinstance(value, Block):
        return "all defaults"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"`[{', '.join(map(repr, value))}]`" if value else "none"
    if value in ("", {}):
        return "none"
    return f"`{value}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


_INTRODUCTION = f"""
# Scenario files

A scenario is one YAML (or JSON) file that says which models are audited, by whom, with which
tools, and how the result is scored. `auditor check FILE` reports every mistake at once with its
line and column; `auditor schema` prints the JSON Schema, which editors can use for completion.
`scenarios/sandbox-one.yaml` is an example with a comment on every field.

- **Names.** `auditor run sandbox` takes a shipped scenario by its name; anything else is a path.
- **Paths** are relative to the file that names them. The path of a model, a verbalizer or a
  reconstructor is a local folder when it is absolute, begins with `.` or `~`, or exists; otherwise
  it is a Hugging Face hub id such as `org/name`, and is first looked for when the run begins.
- **Who sees what.** Everything under `truth`, `motives` and `judge` is read by the judge and the
  report alone, and so are ids and paths. The auditor sees a model called "target".
- **YAML.** Anchors and aliases work (at most {MAX_ALIASES}); tags and merge keys (`<<`) do not.
  `yes`, `no`, `on` and `off` are true or false unless quoted. A file holds at most
  {MAX_YAML_BYTES >> 20} MiB of YAML, or {MAX_JSON_BYTES >> 20} MiB of JSON.
- **More blocks.** An installed package may add blocks, through entry points of the group
  `auditor.blocks` that lead to subclasses of `auditor.scenario.schema.Block`. They are checked like
  those below, and `auditor schema` describes them.
"""

_READERS = """
# Readers and null readouts

Tools that put activations into words need a reader: a verbalizer and its reconstructor, trained on
one layer of the model that is audited, or such a pair for each of several layers.

```yaml
readers:
  nla: {av: pairs/L20/av, ar: pairs/L20/ar}
  deep:
    pairs:
      20: {av: pairs/L20/av, ar: pairs/L20/ar}
      26: {av: pairs/L26/av, ar: pairs/L26/ar}
tool_sets:
  nla: {tools: [chat, nla_explain], reader: nla}
  placebo: {tools: [chat, nla_explain], reader: nla, null_readout: placebo}
```

Of pairs in local folders it is checked beforehand that the two belong together, that their width
is that of every target and baseline, and that these have the layer. Each pair is in memory once
for each worker.

A row with a null readout has the same tools and the same auditor, who is told nothing of it. What
is taken out of it differs:

| `null_readout` | activations of | what the verbalizer reads | what the auditor gets |
|---|---|---|---|
| none | the target | the activations | their explanations |
| `placebo` | another target | the activations | their explanations |
| `random_vectors` | the target | random directions of the same norms | their explanations |
| `shuffled` | target or baseline, by a coin for each text | the activations | their explanations |
| `text_only` | the target | nothing | the last words of the text that was read |

An activation oracle (`oracle`, the tool `activation_oracle`) is replaced in the same way: read
"oracle" for "verbalizer" and "answers" for "explanations".

In a shuffled row target and baseline are read in each other's place for half of the texts: what
is read recurs as it would, and only whose it is is lost. (Readings that are shuffled among the
tokens of one model are no null for an auditor that goes by what recurs: they recur all the same.)
For `random_vectors` and `text_only`, `nla_core.nulls` says how explanations of the auditor's own
are verified.

A placebo row swaps one thing, the mind that tools look into: it is another target as a whole, its
weights and its system prompt. The conversations that it reads are those of the real target; chat,
baseline, corpus and reader are the real ones. Whatever a tool does to the mind, steering among it,
it does to the other target. That one is drawn for each trial by the trial's seed, among the
scenario's targets that were made from the same baseline (without one: the same base model) and
have another motive, or have none and are of another group. The record of the trial names it,
where the auditor does not see it.
"""

_SUITES = """
# Suite files

A suite holds many targets that share a baseline, a rubric and a ceiling. A scenario takes targets
from it by patterns:

```yaml
targets:
  - suite: sandbox/weights/suite.json
    select: ["group:guilty&split:development", clean-1]
```

A pattern is a shell pattern (`*`, `?`, `[abc]`) on target ids. With a prefix it looks at another
field: `group:`, `split:`, `regime:` (or `id:`, the default). `&` joins parts that must all hold.
A target is taken when any pattern of the list selects it; a pattern that selects nothing is a
mistake. Targets keep the order of the suite file.
"""

if __name__ == "__main__":
    sys.stdout.write(render())
