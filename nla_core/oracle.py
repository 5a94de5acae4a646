"""An activation oracle: answers questions in words about activations of another model.

A LoRA adapter on the clean base, taught to answer (Karvonen et al. 2025, "Activation Oracles:
Training and Evaluating LLMs as General-Purpose Activation Explainers"). Its prompt is one user
message, "Layer: L", a placeholder token for each activation, and the question; after an early block
each placeholder's state gets the activation added, at the norm that is there.

It always answers, fluently and in the same tone whether it knows or not, and nothing can be
reconstructed from an answer, so that there is no fidelity.

An oracle is a PEFT adapter in safetensors, as released, which may hold `oracle.json` beside, an
`OracleRecord`. Without that file the format is the release's.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from operator import ne
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from nla_core.oracle_record import ADAPTER_CONFIG, ADAPTER_WEIGHTS, RECORD_FILE, OracleError
from nla_core.oracle_record import OracleRecord as OracleRecord
from nla_core.oracle_record import read_oracle_record as read_oracle_record
from nla_core.seeds import derive_seed

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

MAX_TOKENS = 40
"""Longest answer of the release, in tokens."""
MAX_SEGMENT = 200
"""Most activations that one question is about."""
ORACLE_FILES = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, RECORD_FILE)
"""All files that an oracle may have; the last one is optional."""
_BATCH = 64


@dataclass(frozen=True, slots=True)
class OracleAnswer:
    """One answer to a question about some activations."""

    text: str
    """The answer, stripped; it may be empty."""
    segment: int
    """Which of the activations it is about."""
    sample: int
    """0-based sample of these."""
    n_tokens: int
    """Tokens generated."""


class Oracle(Protocol):
    """Answers questions about activations in words; `nla_core.oracle_nulls` take its place."""

    @property
    def layers(self) -> tuple[int, ...]:
        """Decoder blocks (0-based) that it is asked about, ascending."""
        ...

    @property
    def max_tokens(self) -> int:
        """Most tokens that one answer costs; 0 when none is generated."""
        ...

    def answer(
        self,
        segments: "Sequence[Tensor]",
        question: str,
        *,
        layer: int,
        samples: int,
        temperature: float,
        top_p: float,
        seeds: Sequence[int],
        contexts: Sequence[str],
    ) -> list[OracleAnswer]:
        """Ask a question about every segment.

        Args:
            segments: Activations `[n, d_model]` each, raw, from block `layer`.
            question: In words.
            layer: Where they come from.
            samples: Answers of each.
            temperature: Of the answers; 0 is greedy.
            top_p: Nucleus mass kept.
            seeds: One per segment.
            contexts: The text that each was read from, its last token included.

        Returns:
            `len(segments) * samples` answers, those of one segment side by side.

        Raises:
            ValueError: When the activations are of another width, or do not fit into the prompt.
        """
        ...


@dataclass(frozen=True, slots=True)
class OraclePrompt:
    """A tokenized question with places for activations."""

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    """Tokens whose state gets an activation, ascending."""


class ActivationOracle:
    """A causal language model with the adapter active, its tokenizer and its record."""

    def __init__(
        self,
        tokenizer: Any,
        session: "Callable[[], AbstractContextManager[nn.Module]]",
        record: OracleRecord,
        *,
        layers: Sequence[int] | None = None,
        max_tokens: int = MAX_TOKENS,
    ) -> None:
        """Check the parts against each other.

        Args:
            tokenizer: Of the base.
            session: Gives the model for one call, with the oracle's adapter active.
            record: How it is asked.
            layers: Decoder blocks (0-based) that it is asked about; left out: the record's, or
                those at a quarter, half and three quarters of the depth, as in the release.
            max_tokens: Longest answer, in tokens.

        Raises:
            OracleError: When the placeholder is not one token, or a layer does not exist.
        """
        from nla_core import arch, checkpoint

        self._tokenizer, self._session, self.record = tokenizer, session, record
        self._max_tokens = max_tokens
        self._placeholder = _only_id(tokenizer, record.placeholder)
        with session() as model:
            depth, self._width = len(arch.blocks(model)), arch.d_model(model)
            self._stop_ids = checkpoint.stop_ids(model, tokenizer)
        chosen = layers or record.layers or [depth * part // 4 for part in (1, 2, 3)]
        self._layers = tuple(sorted(dict.fromkeys(chosen)))
        for layer in (*self._layers, record.injection_layer):
            if not 0 <= layer < depth:
                raise OracleError(f"layer {layer} does not exist; the base has 0 to {depth - 1}")

    @property
    def layers(self) -> tuple[int, ...]:
        """Decoder blocks (0-based) that it is asked about, ascending."""
        return self._layers

    @property
    def d_model(self) -> int:
        """Width of the activations."""
        return self._width

    @property
    def max_tokens(self) -> int:
        """Most tokens of one answer."""
        return self._max_tokens

    def prompt(self, question: str, *, layer: int, n: int) -> OraclePrompt:
        """Tokenize a question about `n` activations of a layer.

        Raises:
            OracleError: When the prompt does not hold one placeholder for each.
        """
        record = self.record
        places = record.placeholder * n
        message = record.prefix.replace("{layer}", str(layer)) + places + record.suffix + question
        ids, empty = self._chat(message), self._chat("")
        # The template's own words may hold the placeholder's token too.
        opening = next((i for i, pair in enumerate(zip(ids, empty, strict=False)) if ne(*pair)), 0)
        start = next((i for i in range(opening, len(ids)) if ids[i] == self._placeholder), 0)
        if n < 1 or ids[start : start + n] != [self._placeholder] * n:
            raise OracleError(f"a prompt does not hold {n} placeholders {record.placeholder!r}")
        return OraclePrompt(tuple(ids), tuple(range(start, start + n)))

    def _chat(self, message: str) -> list[int]:
        from nla_core.injection import conversation_ids

        turns = [{"role": "user", "content": message}]
        try:
            # Models that can think answer at once, as the released ones were taught to.
            return conversation_ids(self._tokenizer, turns, header=True, enable_thinking=False)
        except ValueError as error:
            what = " ".join(str(error).split())[:200]
            raise OracleError(f"the tokenizer cannot render a chat: {what}") from None

    def answer(
        self,
        segments: "Sequence[Tensor]",
        question: str,
        *,
        layer: int,
        samples: int = 1,
        temperature: float = 0.7,
        top_p: float = 0.9,
        seeds: Sequence[int] | None = None,
        contexts: Sequence[str] = (),
    ) -> list[OracleAnswer]:
        """Ask the question of every segment of activations.

        Args:
            segments: Each `[n, d_model]`, raw, of consecutive tokens of one text.
            question: In words.
            layer: Decoder block (0-based) that they come from.
            samples: Answers drawn of each.
            temperature: 0 is greedy.
            top_p: Nucleus mass kept.
            seeds: One per segment, from which those of its samples derive; None derives them from
                their numbers.
            contexts: The text that each was read from; an oracle is not shown it.

        Returns:
            `len(segments) * samples` answers, those of one segment side by side.

        Raises:
            OracleError: When a segment is empty or too long, of another width or not finite.
            PromptTooLongError: When a prompt leaves no room in the model's context.
            ValueError: On a wrong number of seeds.
        """
        from nla_core.decoding import generate
        from nla_core.insertion import Insertion, Insertions
        from nla_core.sampling import Sampling

        self._check(segments)
        if seeds is None:
            seeds = [derive_seed(0, "ask", number) for number in range(len(segments))]
        if len(seeds) != len(segments):
            raise ValueError(f"{len(segments)} segments need as many seeds, got {len(seeds)}")
        by_length = {n: self.prompt(question, layer=layer, n=n) for n in set(map(len, segments))}
        rows, insertions, own = [], [], []
        for vectors, seed in zip(segments, seeds, strict=True):
            prompt = by_length[len(vectors)]
            # One object for all samples: they are run once.
            insertion = Insertion(prompt.positions, vectors)
            rows += [prompt.ids] * samples
            insertions += [insertion] * samples
            own += [derive_seed(seed, "sample", sample) for sample in range(samples)]
        with self._session() as model:
            drawn = generate(
                model,
                rows,
                sampling=Sampling(
                    temperature=temperature, top_p=top_p, max_tokens=self._max_tokens
                ),
                seeds=own,
                decode=self._spell,
                stop_ids=self._stop_ids,
                batch_size=_BATCH,
                insertions=Insertions(
                    self.record.injection_layer, insertions, self.record.coefficient
                ),
            )
        return [
            OracleAnswer(one.text.strip(), index // samples, index % samples, len(one.token_ids))
            for index, one in enumerate(drawn)
        ]

    def _check(self, segments: "Sequence[Tensor]") -> None:
        import torch

        for vectors in segments:
            if vectors.ndim != 2 or vectors.shape[1] != self._width or not len(vectors):
                raise OracleError(
                    f"the oracle is asked about activations [n, {self._width}], "
                    f"these are {list(vectors.shape)}"
                )
            if len(vectors) > MAX_SEGMENT:
                raise OracleError(f"a question is about at most {MAX_SEGMENT} activations")
            if not bool(torch.isfinite(vectors).all()):
                raise OracleError("an activation is not finite")

    def _spell(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))


def load_oracle(
    base: str | Path,
    adapter: str | Path,
    *,
    layers: Sequence[int] | None = None,
    max_tokens: int = MAX_TOKENS,
    dtype: "torch.dtype | None" = None,
    device: "str | torch.device" = "cpu",
) -> ActivationOracle:
    """Load an oracle with a copy of its base of its own.

    Args:
        base: The clean model that it was made for, a folder or hub id.
        adapter: Folder of the adapter.
        layers: See `ActivationOracle`.
        max_tokens: Longest answer, in tokens.
        dtype: Of the weights; None is float32 on a CPU and bfloat16 elsewhere.
        device: Where to put the model.

    Raises:
        OracleError: When a file is missing or malformed, or they do not fit each other.
        SidecarError: When the base cannot be loaded.
    """
    from peft import PeftModel

    from nla_core import checkpoint

    record = read_oracle_record(adapter)
    folder = checkpoint.resolve_folder(base)
    tokenizer = checkpoint.load_tokenizer(folder)
    dtype = checkpoint.default_dtype(dtype, device)
    model = checkpoint.load_causal_lm(folder, dtype=dtype, device=device)
    try:
        tuned = PeftModel.from_pretrained(model, str(adapter))
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        what = " ".join(str(error).split())[:200]
        raise OracleError(f"{adapter}: cannot be put on {base}: {what}") from None
    merged = tuned.merge_and_unload(safe_merge=True).eval().requires_grad_(False)
    return ActivationOracle(
        tokenizer, lambda: nullcontext(merged), record, layers=layers, max_tokens=max_tokens
    )


def _only_id(tokenizer: Any, text: str) -> int:
    ids = tokenizer.encode(text, add_special_tokens=False)
    if len(ids) != 1:
        raise OracleError(f"the placeholder {text!r} is {len(ids)} tokens here, it must be one")
    return int(ids[0])
