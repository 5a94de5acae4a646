"""The auditor's list of what is still to do."""

from collections.abc import Mapping

from auditor.investigator.agent.desk import Refused, TodoForm
from auditor.investigator.agent.memory import Memory

MAX_TODO = 20
"""Things that the list holds at a time."""


def carry_out(form: TodoForm, memory: Memory) -> str:
    """Carry out a call of `todo`, and say what became of it.

    Raises:
        Refused: When it cannot be carried out; nothing is changed then.
    """
    match form.action:
        case "add":
            return _add(form, memory)
        case "done":
            return _done(form, memory)
        case "list":
            return "\n".join(listed(memory.todo)) or NOTHING


def listed(
    todo: Mapping[str, str], longest: int | None = None, most: int | None = None
) -> list[str]:
    """Return what is still to do, one thing a line.

    Args:
        todo: Things by id.
        longest: Characters of one thing that are shown.
        most: Things that are shown; how many more there are is said.
    """
    shown = [f"{name} {_cut(text, longest)}" for name, text in todo.items()][:most]
    more = len(todo) - len(shown)
    return [*shown, *([f"and {more} more"] if more else [])]


def _add(form: TodoForm, memory: Memory) -> str:
    texts = list(dict.fromkeys(" ".join(text.split()) for text in form.items))
    if not texts or not all(texts):
        raise Refused("to add to the list, send items, each with words in it")
    if form.ids:
        raise Refused("an id is given to what you add: leave ids out")
    known = {text: name for name, text in memory.todo.items()}
    new = [text for text in texts if text not in known]
    if not new:
        raise Refused(f"{', '.join(known[text] for text in texts)} says the same already")
    if len(memory.todo) + len(new) > MAX_TODO:
        raise Refused(
            f"the list holds {MAX_TODO} things, and {len(memory.todo)} are on it: mark some as "
            "done, or add fewer"
        )
    for text in new:
        memory.todos += 1
        memory.todo[f"T{memory.todos}"] = text
    names = list(memory.todo)[-len(new) :]
    there = len(texts) - len(new)
    return f"Kept as {', '.join(names)}." + (f" {there} were on the list already." if there else "")


def _done(form: TodoForm, memory: Memory) -> str:
    names = list(dict.fromkeys(name.strip() for name in form.ids))
    if not names:
        raise Refused("to mark things as done, send their ids")
    if form.items:
        raise Refused("send items only to add them; done takes ids")
    unknown = [name[:40] for name in names if name not in memory.todo]
    if unknown:
        there = ", ".join(memory.todo) or "nothing"
        raise Refused(f"there is no {', '.join(map(repr, unknown))} on the list; it has {there}")
    for name in names:
        del memory.todo[name]
    left = len(memory.todo)
    return f"Done: {', '.join(names)}. " + (f"{left} still to do." if left else NOTHING)


def _cut(text: str, longest: int | None) -> str:
    return text if longest is None or len(text) <= longest else f"{text[:longest]}…"


NOTHING = "Nothing is left to do."
