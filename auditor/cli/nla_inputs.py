"""What the commands of `auditor nla` read: a model, and one text as it sees it."""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.cli.nla_options import Dtype, shipped
from auditor.errors import UsageError

if TYPE_CHECKING:
    import torch

    from auditor.scenario.schema import Model
    from auditor.target import HFTarget
    from nla_core.fidelity import Fidelity, Score
    from nla_core.positions import Turn
    from tools.protocols import Prompt

_DEVICE = re.compile(r"cpu|mps|cuda(:[0-9]{1,3})?", re.ASCII)


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what the libraries refuse into one line for the operator, and show their warnings."""
    from auditor.cli.output import messages
    from auditor.report.text import one_line
    from tools.protocols import ToolError

    with warnings.catch_warnings(record=True) as seen:
        # Only our own: what libraries say of each other an operator cannot mend.
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", module=r"nla_core\.")
        try:
            yield
        except (ValueError, ToolError) as error:
            raise UsageError(" ".join(str(error).split())) from error
    for warning in seen:
        messages().print(f"note: {one_line(str(warning.message), 400)}", style="yellow")


def quiet(device: str) -> None:
    """Silence the libraries' progress bars; on a CPU, take one thread, which is fastest here."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    if device == "cpu":
        import torch

        torch.set_num_threads(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text as the operator gave it."""

    text: str
    chat: bool
    reply: str | None
    system: str | None

    def check(self) -> None:
        """Refuse what cannot be read.

        Raises:
            UsageError: When it is empty, or has parts of a conversation and is none.
        """
        if not self.text.strip():
            raise UsageError("the text is empty; write something to read")
        for option, value in (("--reply", self.reply), ("--system", self.system)):
            if value is not None and not self.chat:
                raise UsageError(f"{option} belongs to a conversation; add --chat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A text as the model sees it."""

    source: "Prompt | str"
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    eligible: tuple[bool, ...]
    """False at tokens that only begin or fill a text."""
    turns: "tuple[Turn, ...] | None"
    """None when the text is no conversation."""
    tokenizer: Any

    def context(self, position: int) -> str:
        """Return the plain text up to a token, that one included."""
        shown: str = self.tokenizer.decode(list(self.ids[: position + 1]), skip_special_tokens=True)
        return shown


@dataclass(frozen=True, slots=True)
class Subject:
    """The model that is read."""

    target: "HFTarget"
    tokenizer: Any

    def passage(self, given: Text) -> Passage:
        """Tokenize a text as the model sees it.

        Raises:
            UsageError: When the chat template refuses the turns.
        """
        from tools.protocols import ChatMessage, Prompt

        source: Prompt | str = given.text
        if given.chat:
            system = () if given.system is None else (ChatMessage("system", given.system),)
            messages = (*system, ChatMessage("user", given.text))
            source = Prompt(messages=messages, prefill=given.reply or "")
        with refusals():
            (ids,) = self.target.token_ids([source])
            (turns,) = self.target.turns([source])
        idle = {self.tokenizer.bos_token_id, self.tokenizer.pad_token_id}
        return Passage(
            source=source,
            ids=tuple(ids),
            tokens=tuple(self.target.tokens(ids)),
            eligible=tuple(i not in idle for i in ids),
            turns=turns if given.chat else None,
            tokenizer=self.tokenizer,
        )

    def activations(
        self, passage: Passage, *, layer: int, positions: Sequence[int]
    ) -> "torch.Tensor":
        """Return the residual stream `[n_positions, d_model]`, float32.

        Raises:
            UsageError: When the layer does not exist, or the text is too long.
        """
        with refusals():
            (found,) = self.target.activations(
                [passage.source], layer=layer, positions=[list(positions)]
            )
        return found

    def divergences(self, passage: Passage, baseline: "Subject") -> "torch.Tensor":
        """Return `[token]` KL(this model || baseline), in nats, of what follows each token.

        Raises:
            UsageError: When the two do not cut the text into the same tokens.
        """
        from nla_core.positions import kl_divergence

        with refusals():
            (ids,) = baseline.target.token_ids([passage.source])
            if tuple(ids) != passage.ids:
                raise UsageError(
                    "model and baseline cut the text into different tokens; name a baseline of "
                    "the same family"
                )
            (ours,) = self.target.token_logprobs([passage.source])
            (theirs,) = baseline.target.token_logprobs([passage.source])
            return kl_divergence(ours, theirs)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where models run, and in which dtype."""

    device: str
    dtype_name: Dtype

    @property
    def dtype(self) -> "torch.dtype":
        """Dtype of all weights."""
        import torch

        found: torch.dtype = getattr(torch, self.dtype_name)
        return found


def machine(dtype: Dtype, device: str) -> Machine:
    """Resolve `auto`: an accelerator when there is one; float32 on a CPU, else bfloat16.

    Raises:
        UsageError: When there is no such device.
    """
    import torch
    import transformers

    # What the libraries report while loading is not what the command was asked for.
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    if device == "auto":
        mps = "mps" if torch.backends.mps.is_available() else "cpu"
        device = "cuda" if torch.cuda.is_available() else mps
    else:
        try:
            if not _DEVICE.fullmatch(device):
                raise RuntimeError
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError):
            raise UsageError(
                f"cannot run on {device[:40]!r}; write auto, cpu, cuda, cuda:1 or mps"
            ) from None
    if dtype == "auto":
        dtype = "float32" if device == "cpu" else "bfloat16"
    return Machine(device, dtype)


def named_model(
    model: str | None, adapter: str | None, machine: Machine, *, option: str = "--model"
) -> "Model":
    """Find a model that is run, without loading it.

    Args:
        model: Folder or hub id; None is the sandbox's base.
        adapter: Folder or hub id of an adapter on it.
        machine: Where it will run.
        option: What named it.

    Raises:
        UsageError: When a folder is missing, or neither a folder nor a hub id is named.
    """
    from auditor.scenario.models import locate
    from auditor.scenario.schema import Model

    named = Model(
        path=shipped("base", option) if model is None else model,
        adapter=adapter,
        dtype=machine.dtype_name,
        device=machine.device,
    )
    found, problems = locate(named, Path.cwd())
    if problems:
        field, what = problems[0]
        raise UsageError(f"{option if field == 'path' else '--adapter'} {what}")
    return found


def named_baseline(
    baseline: str | None, model: str | None, adapter: str | None, machine: Machine
) -> "Model | None":
    """Find the model to compare with: the one named, or the model without its adapter.

    Returns:
        None when there is neither.

    Raises:
        UsageError: See `named_model`.
    """
    if baseline is not None:
        return named_model(baseline, None, machine, option="--baseline")
    return None if adapter is None else named_model(model, None, machine)


def load_subject(model: "Model") -> Subject:
    """Load the model that is read.

    Raises:
        UsageError: When it cannot be loaded, or has no chat template.
    """
    import transformers

    from auditor.target import TargetPool

    target = TargetPool().get(model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model.path, trust_remote_code=False)
    return Subject(target, tokenizer)


def check_width(width: int, d_model: int) -> None:
    """Refuse a pair that was made for activations of another width.

    Raises:
        UsageError: When the widths differ.
    """
    if width != d_model:
        raise UsageError(
            f"the model's activations have {width} values, the pair reads {d_model}; "
            "name the pair of this model with --av and --ar"
        )


def fidelity_record(fidelity: "Fidelity") -> dict[str, Any]:
    """Return a score and its nulls as JSON-able values; None is unknown."""
    return {
        "problem": fidelity.problem,
        "score": _score_record(fidelity.score),
        "nulls": {
            "shuffled": _score_record(fidelity.shuffled),
            "random_vector": _score_record(fidelity.random_vector),
            "copied_context": _score_record(fidelity.copied_context),
        },
    }


def _score_record(score: "Score | None") -> dict[str, float | None] | None:
    return None if score is None else asdict(score)
