"""Options that the commands of `auditor nla` share, and what they default to."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import typer

from auditor.errors import UsageError

Dtype = Literal["auto", "float32", "bfloat16", "float16"]

Model = Annotated[
    str | None,
    typer.Option(
        "--model", help="Folder or hub id of the model that is read; by default the sandbox's."
    ),
]
Adapter = Annotated[
    str | None, typer.Option("--adapter", help="Folder or hub id of a PEFT adapter on the model.")
]
Verbalizer = Annotated[
    str | None,
    typer.Option("--av", help="Folder or hub id of the verbalizer; by default the sandbox's."),
]
Reconstructor = Annotated[
    str | None,
    typer.Option("--ar", help="Folder or hub id of the reconstructor; by default the sandbox's."),
]
Chat = Annotated[
    bool,
    typer.Option("--chat", help="Take the text as a user message, in the model's chat template."),
]
Reply = Annotated[
    str | None, typer.Option("--reply", help="What the assistant says next, with --chat.")
]
System = Annotated[str | None, typer.Option("--system", help="System message, with --chat.")]
Layer = Annotated[
    int | None,
    typer.Option(
        "--layer", help="Decoder block to read after, counted from 0; the pair's own by default."
    ),
]
DtypeOption = Annotated[
    Dtype,
    typer.Option("--dtype", help="Of all weights; auto is float32 on a CPU, else bfloat16."),
]
Device = Annotated[
    str, typer.Option("--device", help="Where to run: auto, cpu, cuda, cuda:1 or mps.")
]
Seed = Annotated[int, typer.Option("--seed", help="Every draw derives from it.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line; null: unknown.")]


def sandbox_weights() -> Path:
    """The folder of the weights that come with the package."""
    return Path(str(files("scenarios"))) / "sandbox" / "weights"


def shipped(part: Literal["base", "nla/av", "nla/ar"], option: str) -> str:
    """The folder of one of the sandbox's models.

    Raises:
        UsageError: When this installation has none.
    """
    folder = sandbox_weights() / part
    if not folder.is_dir():
        raise UsageError(f"this installation has no sandbox model {part}; name one with {option}")
    return str(folder)
