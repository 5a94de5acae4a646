"""`auditor nla explain`: a text, token by token, in the verbalizer's words."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditor.cli import nla_options as options
from auditor.cli.nla_positions import Positions, choose, parse_positions
from auditor.errors import UsageError

if TYPE_CHECKING:
    from auditor.cli.nla_inputs import Machine, Passage, Subject
    from auditor.report.reading import Place
    from nla_core.pair import NLAPair
    from nla_core.sampling import Sampling

_HOTTEST = 10.0

PassageText = Annotated[str, typer.Option("--text", help="What the model reads.")]
Pairs = Annotated[
    Path | None,
    typer.Option(
        "--pairs",
        help="Folder of pairs for several layers, L5/av and L5/ar for layer 5, in place of --av "
        "and --ar; the pair nearest to --layer reads.",
    ),
]
PositionsOption = Annotated[
    str,
    typer.Option(
        "--positions",
        help="Tokens to read: every, last, header (where a reply begins), turn-ends, random:K, "
        "divergent:K (where the model's next token differs most from a baseline's), worst:K or "
        "best:K (by fidelity), or numbers such as 0,5,-1.",
    ),
]
Baseline = Annotated[
    str | None,
    typer.Option(
        "--baseline",
        help="Folder or hub id of the model to compare with, for divergent:K; by default --model "
        "without its --adapter.",
    ),
]
Samples = Annotated[int, typer.Option("--samples", help="Explanations of each token.")]
Temperature = Annotated[
    float | None, typer.Option("--temperature", help="Of the verbalizer; 1 by default.")
]
Greedy = Annotated[
    bool, typer.Option("--greedy", help="Take the likeliest words; short for temperature 0.")
]


def explain(
    *,
    text: PassageText,
    model: options.Model = None,
    av: options.Verbalizer = None,
    ar: options.Reconstructor = None,
    pairs: Pairs = None,
    chat: options.Chat = False,
    reply: options.Reply = None,
    system: options.System = None,
    layer: options.Layer = None,
    positions: PositionsOption = "every",
    baseline: Baseline = None,
    samples: Samples = 1,
    temperature: Temperature = None,
    greedy: Greedy = False,
    seed: options.Seed = 0,
    adapter: options.Adapter = None,
    dtype: options.DtypeOption = "auto",
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Explain a model's activations on a text, each explanation beside its nulls.

    An explanation is scored by how well the reconstructor finds the activation again from its
    words alone. One that does no better than a random vector, the average activation or another
    place's explanation is printed in grey, and says so.

    Without --model, --av and --ar the sandbox's base model and pair are used.
    """
    from auditor.cli import nla_inputs as inputs

    given = inputs.Text(text=text, chat=chat, reply=reply, system=system)
    given.check()
    wanted = parse_positions(positions)
    sampling = _sampling(samples=samples, temperature=temperature, greedy=greedy)
    machine = inputs.machine(dtype, device)
    named = inputs.named_model(model, adapter, machine)
    other = None
    if wanted.policy == "divergent":
        other = inputs.named_baseline(baseline, model, adapter, machine)
    elif baseline is not None:
        raise UsageError("--baseline belongs to --positions divergent:K; leave it out")
    pair = _open(av, ar, pairs, layer=layer, machine=machine)
    subject = inputs.load_subject(named)
    passage = subject.passage(given)
    compared = None if other is None else inputs.load_subject(other)
    chosen = _chosen(subject, passage, wanted, compared, seed)
    places = _read(subject, passage, pair, chosen, samples=samples, sampling=sampling, seed=seed)
    _show(passage, _extreme(places, wanted) if wanted.by_score else places, as_json=as_json)


def _chosen(
    subject: "Subject",
    passage: "Passage",
    wanted: Positions,
    baseline: "Subject | None",
    seed: int,
) -> list[int]:
    return choose(
        wanted,
        eligible=passage.eligible,
        turns=passage.turns,
        seed=seed,
        divergences=None if baseline is None else lambda: subject.divergences(passage, baseline),
    )


def _read(
    subject: "Subject",
    passage: "Passage",
    pair: "NLAPair",
    chosen: Sequence[int],
    *,
    samples: int,
    sampling: "Sampling",
    seed: int,
) -> "list[Place]":
    from auditor.cli.nla_inputs import check_width, refusals
    from auditor.report.reading import Place
    from nla_core.seeds import derive_seed

    layer = pair.layer if pair.off_layer is None else pair.off_layer
    activations = subject.activations(passage, layer=layer, positions=chosen)
    check_width(activations.shape[-1], pair.d_model)
    with refusals():
        readings = pair.read(
            activations,
            samples=samples,
            sampling=sampling,
            # A token's explanation does not depend on which others are read.
            seeds=[derive_seed(seed, "nla explain", position) for position in chosen],
            contexts=[passage.context(position) for position in chosen],
            null_seed=seed,
        )
    places = []
    for reading in readings:
        position = chosen[reading.explanation.vector]
        token = passage.tokens[position]
        places.append(Place(position=position, token=token, reading=reading))
    return places


def _sampling(*, samples: int, temperature: float | None, greedy: bool) -> "Sampling":
    from dataclasses import replace

    from nla_core.verbalizer import DEFAULT_SAMPLING

    if samples < 1:
        raise UsageError(f"--samples must be 1 or more, got {samples}")
    if greedy and temperature is not None:
        raise UsageError("--greedy is temperature 0; leave out one of --greedy and --temperature")
    chosen = 0.0 if greedy else DEFAULT_SAMPLING.temperature if temperature is None else temperature
    if not 0 <= chosen <= _HOTTEST:
        raise UsageError(f"--temperature must be from 0 to {_HOTTEST:g}, got {chosen:g}")
    if samples > 1 and chosen == 0:
        raise UsageError("at temperature 0 all samples are the same; leave out --samples")
    return replace(DEFAULT_SAMPLING, temperature=chosen)


def _open(
    av: str | None, ar: str | None, folder: Path | None, *, layer: int | None, machine: "Machine"
) -> "NLAPair":
    """Load the pair for a layer; None is the pair's own."""
    from auditor.cli.nla_inputs import refusals
    from nla_core.pair import PairSet, load_pair

    given = (av is not None) + (ar is not None)
    if folder is not None and given:
        raise UsageError("--pairs stands in place of --av and --ar; leave them out")
    if given == 1:
        raise UsageError("--av and --ar belong together; give both, or neither")
    with refusals():
        if folder is None:
            pair = load_pair(
                av or options.shipped("nla/av", "--av and --ar"),
                ar or options.shipped("nla/ar", "--av and --ar"),
                dtype=machine.dtype,
                device=machine.device,
            )
            return pair if layer is None else pair.at_layer(layer)
        several = PairSet.load(folder, dtype=machine.dtype, device=machine.device)
        if layer is None and len(several.layers) > 1:
            known = ", ".join(map(str, several.layers))
            raise UsageError(f"{folder} has pairs for layers {known}; choose one with --layer")
        return several.for_layer(several.layers[0] if layer is None else layer)


def _extreme(places: "Sequence[Place]", wanted: Positions) -> "list[Place]":
    """Keep the readings of the worst or best tokens, by the mean of their samples."""
    from nla_core import positions

    scores: dict[int, list[float]] = {}
    for place in places:
        found = place.reading.fidelity.score
        scores.setdefault(place.position, []).extend([] if found is None else [-found.mse_nrm])
    at = sorted(scores)
    means = [sum(scores[i]) / len(scores[i]) if scores[i] else None for i in at]
    choose_by = (
        positions.worst_reconstructed if wanted.policy == "worst" else positions.best_reconstructed
    )
    kept = {at[index] for index in choose_by(means, wanted.k)}
    if not kept:
        raise UsageError("no reading has a score to choose by; read every position instead")
    return [place for place in places if place.position in kept]


def _show(passage: "Passage", places: "Sequence[Place]", *, as_json: bool) -> None:
    from auditor.cli.output import print_json_line, results
    from auditor.report.reading import render

    if not as_json:
        console = results()
        for part in render(passage.tokens, places):
            console.print(part)
        return
    for place in places:
        print_json_line(_record(place, passage))


def _record(place: "Place", passage: "Passage") -> dict[str, Any]:
    from auditor.cli.nla_inputs import fidelity_record

    reading = place.reading
    said = reading.explanation
    return {
        "position": place.position,
        "token": place.token,
        "token_id": passage.ids[place.position],
        "sample": said.sample,
        "layer": reading.layer if reading.off_layer is None else reading.off_layer,
        "pair_layer": reading.layer,
        "off_layer": reading.off_layer,
        "explanation": said.text,
        "raw_text": said.raw_text,
        "finish": said.finish,
        "n_tokens": said.n_tokens,
        "activation_norm": said.activation_norm,
        "verdict": reading.verdict,
        **fidelity_record(reading.fidelity),
    }
