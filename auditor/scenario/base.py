"""What every block of a scenario stands on: the base class, forms of names and of addresses."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_SEED = 2**63 - 1
DEVICE_PATTERN = r"^(auto|cpu|mps|cuda(:[0-9]{1,3})?)$"
SERVER_PATTERN = r"^https?://[^\s/@?#]+(/[^\s@?#]*)?$"
Dtype = Literal["auto", "float32", "bfloat16", "float16"]

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
"""Names a target or a run; file names and URLs are made of it."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=80)]
"""Names a tool set, a reader or a budget; `+` reads as "with", as in black_box+corpus."""


ServerUrl = Annotated[str, Field(pattern=SERVER_PATTERN)]
"""Address of a server, without user, password or query."""


class Block(BaseModel):
    """Base of every block: frozen, strict about unknown keys."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )
