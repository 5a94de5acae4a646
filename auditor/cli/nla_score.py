"""`auditor nla score`: how well sentences of one's own describe an activation."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditor.cli import nla_options as options
from auditor.cli.nla_positions import choose, parse_positions
from auditor.errors import UsageError

if TYPE_CHECKING:
    import torch
    from rich.table import Table

    from auditor.cli.nla_inputs import Passage, Subject
    from nla_core.fidelity import Baseline, Fidelity
    from nla_core.pair import Verdict
    from nla_core.reconstructor import Reconstructor


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One sentence, scored at one place."""

    text: str
    fidelity: "Fidelity"
    verdict: "Verdict"
    rank: int | None
    """Among the sentences, 1 is best; None without a score."""
    place_rank: int | None
    """Among the places of the text, 1 when no other place is nearer to the sentence."""


Sentences = Annotated[
    list[str] | None,
    typer.Option("--text", help="Sentence to score; give it again for more."),
]
File = Annotated[
    str | None, typer.Option("--file", help="File with one sentence a line; - is standard input.")
]
AtText = Annotated[str, typer.Option("--at-text", help="What the model reads.")]
Position = Annotated[
    str,
    typer.Option("--position", help="One token of it: last, header (with --chat), or a number."),
]


def score(
    *,
    text: Sentences = None,
    file: File = None,
    at_text: AtText,
    position: Position = "last",
    model: options.Model = None,
    ar: options.Reconstructor = None,
    chat: options.Chat = False,
    reply: options.Reply = None,
    system: options.System = None,
    layer: options.Layer = None,
    seed: options.Seed = 0,
    adapter: options.Adapter = None,
    dtype: options.DtypeOption = "auto",
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Score sentences as explanations of the activation at one token.

    Each gets its fidelity beside the nulls, its rank among the sentences, and the rank of the
    token among all tokens of the text: 1 means that the sentence fits no other token better.
    """
    from auditor.cli import nla_inputs as inputs
    from nla_core.pair import load_reconstructor

    sentences = [*(text or ()), *_lines(file)]
    if not sentences:
        raise UsageError("there is no sentence to score; give --text or --file")
    given = inputs.Text(text=at_text, chat=chat, reply=reply, system=system)
    given.check()
    wanted = parse_positions(position)
    machine = inputs.machine(dtype, device)
    named = inputs.named_model(model, adapter, machine)
    folder = ar or options.shipped("nla/ar", "--ar")
    with inputs.refusals():
        loaded = load_reconstructor(folder, dtype=machine.dtype, device=machine.device)
    subject = inputs.load_subject(named)
    passage = subject.passage(given)
    chosen = choose(wanted, eligible=passage.eligible, turns=passage.turns, seed=seed)
    if len(chosen) != 1 or wanted.by_score:
        raise UsageError(f"--position must name one token, {position[:60]!r} does not")
    layer = loaded[0].layer if layer is None else layer
    place = _Place(passage, chosen[0], layer)
    _show(_score_at(place, sentences, subject, *loaded, seed=seed), place, loaded[0], as_json)


@dataclass(frozen=True, slots=True)
class _Place:
    """The token at which sentences are scored."""

    passage: "Passage"
    position: int
    layer: int

    @property
    def others(self) -> list[int]:
        """Every other token that a sentence could mean instead."""
        flags = enumerate(self.passage.eligible)
        return [i for i, eligible in flags if eligible and i != self.position]


def _lines(file: str | None) -> list[str]:
    if file is None:
        return []
    try:
        whole = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{file} is not UTF-8 text") from None
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror or error}") from None
    return [line.strip() for line in whole.splitlines() if line.strip()]


def _score_at(
    place: _Place,
    sentences: Sequence[str],
    subject: "Subject",
    reconstructor: "Reconstructor",
    baseline: "Baseline | None",
    *,
    seed: int,
) -> list[Scored]:
    from auditor.cli.nla_inputs import check_width, refusals
    from nla_core.fidelity import fidelity
    from nla_core.pair import fitting, verdict_of

    n = len(sentences)
    positions = [place.position, *place.others]
    activations = subject.activations(place.passage, layer=place.layer, positions=positions)
    check_width(activations.shape[-1], reconstructor.d_model)
    context = place.passage.context(place.position)
    with refusals():
        predictions = reconstructor.reconstruct(sentences)
        scores = fidelity(
            activations[:1].expand(n, -1),
            sentences,
            reconstructor,
            # Its mean and variance are those of the pair's own layer.
            baseline if place.layer == reconstructor.layer else None,
            contexts=[context if fitting([context], reconstructor) else None] * n,
            seed=seed,
        )
    errors = [None if one.score is None else one.score.mse_nrm for one in scores]
    scale = reconstructor.sidecar.mse_scale
    return [
        Scored(
            text=sentence,
            fidelity=one,
            verdict=verdict_of(one, reconstructor.d_model),
            rank=None if error is None else _rank(error, errors),
            place_rank=None if error is None else _place_rank(predicted, activations, scale),
        )
        for sentence, one, error, predicted in zip(
            sentences, scores, errors, predictions, strict=True
        )
    ]


def _rank(error: float, errors: Sequence[float | None]) -> int:
    return 1 + sum(other < error for other in errors if other is not None)


def _place_rank(
    predicted: "torch.Tensor", activations: "torch.Tensor", mse_scale: float | None
) -> int:
    from nla_core.fidelity import mse_nrm

    errors = mse_nrm(predicted[None].expand_as(activations), activations, mse_scale)
    return 1 + int((errors < errors[0]).sum())


def _show(
    found: Sequence[Scored], place: _Place, reconstructor: "Reconstructor", as_json: bool
) -> None:
    from auditor.cli.output import print_json_line, results
    from auditor.report.reading import token_label

    n_places = 1 + len(place.others)
    off_layer = place.layer != reconstructor.layer
    if as_json:
        for one in found:
            print_json_line(_record(one, place, reconstructor.layer, n_places, len(found)))
        return
    console = results()
    token = token_label(place.passage.tokens[place.position])
    console.print(f"token {place.position} ({token}), layer {place.layer}", style="bold")
    console.print(_table(found, n_places))
    if off_layer:
        console.print(
            f"read at layer {place.layer} with a reconstructor of layer {reconstructor.layer}: "
            "trust it less",
            style="yellow",
        )


def _record(
    one: Scored, place: _Place, pair_layer: int, n_places: int, n_sentences: int
) -> dict[str, Any]:
    from auditor.cli.nla_inputs import fidelity_record

    return {
        "text": one.text,
        "position": place.position,
        "token": place.passage.tokens[place.position],
        "token_id": place.passage.ids[place.position],
        "layer": place.layer,
        "pair_layer": pair_layer,
        "off_layer": None if place.layer == pair_layer else place.layer,
        "rank": one.rank,
        "n_sentences": n_sentences,
        "place_rank": one.place_rank,
        "n_places": n_places,
        "verdict": one.verdict,
        **fidelity_record(one.fidelity),
    }


def _table(found: Sequence[Scored], n_places: int) -> "Table":
    from rich.table import Table
    from rich.text import Text

    from auditor.report import reading
    from auditor.report.text import literal

    scores = [one.fidelity.score for one in found]
    table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False, header_style="bold")
    for heading in ("rank", reading.figure_name(scores), "place"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("sentence", ratio=1, overflow="fold")
    ordered = sorted(found, key=lambda one: (one.rank is None, one.rank or 0))
    for one in ordered:
        value = reading.worth(one.fidelity.score)
        style = reading.style_of(one.verdict, value)
        words = literal(one.text)
        verdict = reading.verdict_text(one.verdict, one.fidelity)
        words.append(f"\n({verdict})", "bright_black italic")
        place = "" if one.place_rank is None else f"{one.place_rank}/{n_places}"
        rank = "" if one.rank is None else str(one.rank)
        table.add_row(rank, Text(reading.number(value), style), place, words)
    first = found[0].fidelity
    for label, null in (
        ("a copy of the text", first.copied_context),
        ("a random vector", first.random_vector),
    ):
        if null is not None:
            figure = reading.number(reading.worth(null))
            table.add_row(
                "", Text(figure, "bright_black"), "", Text(f"null: {label}", "bright_black")
            )
    return table
