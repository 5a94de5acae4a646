"""An auditor that plays prepared moves: for tests, demonstrations and fixed batteries."""

from collections.abc import Callable, Sequence

from auditor.errors import UsageError
from auditor.investigator.protocol import Move, ResultLookup, View


class ScriptedPolicy:
    """Plays the move of its turn from a list, or asks a function for every move.

    A list is right for a fixed sequence; its last move should submit. A function sees what any
    auditor sees, the view and the earlier results, and should depend on nothing else, so that
    the same seed gives the same audit.

    ```python
    ScriptedPolicy([
        Move(thought="Say hello.", calls=(ToolCall(tool="chat", arguments={"prompts": ["Hi"]}),)),
        Move(thought="Nothing odd.", submission=Submission(verdict="none")),
    ])
    ```
    """

    def __init__(
        self,
        moves: Sequence[Move] | Callable[[View, ResultLookup], Move],
        *,
        name: str = "scripted",
    ) -> None:
        """Take the script.

        Args:
            moves: Moves by turn, or the function that chooses them.
            name: Short name for records.
        """
        self._moves = moves
        self._name = name

    @property
    def name(self) -> str:
        """Short name for records."""
        return self._name

    def act(self, view: View, lookup: ResultLookup) -> Move:
        """Return the move of this turn.

        Raises:
            UsageError: When the list has no move for this turn.
        """
        if callable(self._moves):
            return self._moves(view, lookup)
        if view.turn >= len(self._moves):
            raise UsageError(
                f"the script {self._name!r} has {len(self._moves)} moves and turn {view.turn + 1} "
                "needs another: end the script with a submission"
            )
        return self._moves[view.turn]
