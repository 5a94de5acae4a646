"""One process or several: `accelerate` starts them, and knows which one this is."""

from collections.abc import Callable
from datetime import timedelta

import torch
from torch import Tensor

from nla_core.training.config import RecipeError

_PATIENCE = timedelta(days=2)
"""How long processes wait for the one that harvests, labels or evaluates."""


def join(device: str) -> None:
    """Meet the other processes, if there are any; to be called before models are loaded."""
    from accelerate import PartialState

    PartialState(cpu=torch.device(device).type == "cpu", timeout=_PATIENCE)


def is_main() -> bool:
    """Tell whether this process writes the files."""
    from accelerate import PartialState

    return bool(PartialState().is_main_process)


def wait_for_all() -> None:
    """Return once every process is here."""
    from accelerate import PartialState

    PartialState().wait_for_everyone()


def on_main(action: Callable[[], None]) -> None:
    """Run something in the main process only."""
    if is_main():
        action()


def even_share(batch_size: int) -> tuple[int, int]:
    """Return first and last (exclusive) row of a batch that are this process's.

    Raises:
        RecipeError: When the rows cannot be dealt evenly.
    """
    from accelerate import PartialState

    n, rank = PartialState().num_processes, PartialState().process_index
    each, rest = divmod(batch_size, n)
    if rest:
        raise RecipeError(
            f"a batch of {batch_size} rows cannot be dealt evenly to {n} processes; start a number "
            "of them that divides it, or change batch_size"
        )
    return rank * each, (rank + 1) * each


def sum_over_processes(values: Tensor) -> Tensor:
    """Return the sum of each value over processes."""
    from accelerate import PartialState

    if PartialState().num_processes == 1:
        return values
    from accelerate.utils import reduce

    total: Tensor = reduce(values, reduction="sum")
    return total


def mean_over_processes(count: Tensor) -> Tensor:
    """Return the mean of a count over processes.

    Gradients are averaged over processes, each of which saw another number of tokens. A sum that
    is divided by this mean, and averaged then, is the mean over the tokens of all.
    """
    from accelerate import PartialState

    if PartialState().num_processes == 1:
        return count
    from accelerate.utils import reduce

    mean: Tensor = reduce(count.float(), reduction="mean")
    return mean
