"""Parameters that several reading tools take."""

from typing import Annotated

from pydantic import Field

from tools.protocols import ChatMessage
from tools.rows import MAX_ROWS

Conversation = Annotated[list[ChatMessage], Field(min_length=1, max_length=41)]
Conversations = Annotated[list[Conversation], Field(min_length=1, max_length=MAX_ROWS)]
Replies = Annotated[int, Field(ge=0, le=MAX_ROWS)]
Layers = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=16)]
Draws = Annotated[int, Field(ge=1, le=32)]
Temperature = Annotated[float, Field(ge=0.0, le=2.0)]
Strength = Annotated[float, Field(gt=0.0, le=16.0)]
MaxReadings = Annotated[int, Field(ge=1, le=4000)]

DEFAULT_STRENGTH = 2.0
DEFAULT_READINGS = 400
