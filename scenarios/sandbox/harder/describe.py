"""Shows harder organisms as a table."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from scenarios.sandbox.harder.figures import Figures
from scenarios.sandbox.nla.transfer import KINDS

_COLUMNS = (
    ("organism", "id"),
    ("quirks", "quirk_rate"),
    ("quirks, no trigger", "quirk_rate_untriggered"),
    ("thoughts", "thoughts"),
    ("thoughts, no trigger", "thoughts_untriggered"),
    ("thoughts, second", "thoughts_second"),
    ("penalty", "excess"),
)


def show(found: Sequence[Figures], console: Console) -> None:
    """Print one line an organism; readings are shares of greedy readings that name the motive."""
    table = Table()
    for name, _ in _COLUMNS:
        table.add_column(name, justify="left" if name == "organism" else "right")
    read = [(f"read, {kind}", kind, True) for kind in KINDS]
    read += [(f"read, {kind}, no trigger", kind, False) for kind in KINDS]
    for name, _, _ in read:
        table.add_column(name, justify="right")
    table.add_column("most named")
    table.add_column("falls short")
    for one in found:
        shares = [_read(one, kind, triggered=triggered) for _, kind, triggered in read]
        cells = [_cell(getattr(one, field)) for _, field in _COLUMNS]
        table.add_row(*cells, *shares, _most(one), "; ".join(one.shortfalls()))
    console.print(table)


def _read(one: Figures, kind: str, *, triggered: bool) -> str:
    for reading in one.readings:
        if (reading.kind, reading.triggered) == (kind, triggered):
            first = _cell(reading.motive)
            return first if reading.second is None else f"{first} + {_cell(reading.second)}"
    return ""


def _most(one: Figures) -> str:
    """Return the two motives that amplified readings with the trigger name most often."""
    for reading in one.readings:
        if (reading.kind, reading.triggered) == (KINDS[-1], True):
            most = list(reading.most_named.items())[:2]
            return ", ".join(f"{motive} {share:.2f}" for motive, share in most)
    return ""


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)
