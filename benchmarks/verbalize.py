"""Explanations per second and peak memory of three ways to run one verbalizer.

    python benchmarks/verbalize.py [--av FOLDER] [--vectors 1 16 256 4096] [--temperature 0]
    python benchmarks/verbalize.py --shape qwen2.5-7b --device cuda --vectors 1 16 256

(a) `generate` of Transformers on one vector at a time, (b) the same on all vectors as one batch,
(c) `Verbalizer.explain`. All use the same weights and the same injected prompts. At temperature 0
they give the same texts, which is checked first, so that each is timed on the same work. They run
in turn in one process (medians); memory is measured in a process of its own for each.

`--shape` takes random weights of a known model's shape, with one token in 25 ending a text. On
CUDA the share of the roofline stands beside: the time to read every weight once per forward pass,
by the time taken.
"""

import argparse
import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import _measure as measure
import torch
from torch import Tensor

from nla_core.activations import capture
from nla_core.checkpoint import load_causal_lm, load_tokenizer, resolve_folder
from nla_core.sampling import Sampling
from nla_core.verbalizer import Verbalizer, new_verbalizer

SANDBOX = "scenarios/sandbox/weights"
UNTRAINED = "untrained"
ONE_TOKEN_ENDS_IN = 25
PROMPT_TOKENS = 125
"""Length of the released Qwen verbalizer's prompt."""
TEMPLATES = {
    "av_template": "explain <concept>{injection_char}</concept>",
    "ar_template": "summary of the following text: <text>{explanation}</text> <summary>",
}


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    av = verbalizer(args)
    vectors = draw_vectors(av, args)
    if args.only:
        measured = vectors[: args.vectors[0]]
        WAYS[args.only](av, vectors[:2], args)  # what the first run of a process sets up
        measure.print_peak(lambda: WAYS[args.only](av, measured, args), args.device)
        return
    check_texts(av, vectors[: min(16, len(vectors))], args)
    roof = args.device.startswith("cuda")
    names = ["vectors", "way", "explanations/s", "(c) is faster by", "peak MB above the model"]
    measure.print_header([*names, "share of the roofline"] if roof else names)
    for n in args.vectors:
        compare(av, vectors[:n], args)
    if max(args.vectors) > args.sample:
        print(f"\nBeyond {args.sample} vectors (a) is timed on the first {args.sample} of them.")


def compare(av: Verbalizer, vectors: Tensor, args: argparse.Namespace) -> None:
    n = len(vectors)
    taken = {name: vectors[: args.sample] if name == "a" else vectors for name in WAYS}
    peaks = {
        name: measure.peak_in_child("--only", name, "--vectors", len(taken[name])) for name in WAYS
    }
    passes: dict[str, int] = {}
    for name, way in WAYS.items():
        with counted(av) as count, contextlib.suppress(torch.OutOfMemoryError):
            way(av, taken[name], args)
            passes[name] = len(count)
    ways = {name: lambda name=name: WAYS[name](av, taken[name], args) for name in passes}
    repeats = args.repeats * (5 if n < args.sample else 1)
    seconds = measure.interleaved(ways, repeats, args.device)
    rate = {name: len(taken[name]) / took for name, took in seconds.items()}
    for name in WAYS:
        cells = [n, f"({name}) {TITLES[name]}", "-", "-", measure.megabytes(peaks[name])]
        if name in rate:
            cells[2:4] = [f"{rate[name]:.1f}", f"{rate['c'] / rate[name]:.2f}"]
            if args.device.startswith("cuda"):
                least = passes[name] * weight_bytes(av.model) / (args.bandwidth * 1e12)
                cells.append(f"{least / seconds[name]:.0%}")
        measure.print_row(cells)


def one_at_a_time(av: Verbalizer, vectors: Tensor, args: argparse.Namespace) -> list[str]:
    return [one_batch(av, vector[None], args)[0] for vector in vectors]


def one_batch(av: Verbalizer, vectors: Tensor, args: argparse.Namespace) -> list[str]:
    model: Any = av.model
    prompts = av.prompts(vectors).to(model.dtype)
    with torch.inference_mode():
        drawn = model.generate(
            inputs_embeds=prompts,
            attention_mask=torch.ones(prompts.shape[:2], dtype=torch.long, device=prompts.device),
            max_new_tokens=args.max_tokens,
            eos_token_id=sorted(av.stop_ids),
            pad_token_id=0,
            **(
                {"do_sample": True, "temperature": args.temperature, "top_k": 0, "top_p": 1.0}
                if args.temperature
                else {"do_sample": False}
            ),
        )
    return [av.tokenizer.decode(until_stop(ids, av.stop_ids)) for ids in drawn.tolist()]


def ours(av: Verbalizer, vectors: Tensor, args: argparse.Namespace) -> list[str]:
    sampling = Sampling(temperature=args.temperature, max_tokens=args.max_tokens)
    found = av.explain(vectors, sampling=sampling, batch_size=args.batch_size)
    return [explanation.raw_text for explanation in found]


WAYS = {"a": one_at_a_time, "b": one_batch, "c": ours}
TITLES = {"a": "generate, one at a time", "b": "generate, one batch", "c": "Verbalizer.explain"}


def until_stop(ids: Sequence[int], stop_ids: frozenset[int]) -> Sequence[int]:
    end = next((i for i, token in enumerate(ids) if token in stop_ids), len(ids))
    return ids[:end]


def check_texts(av: Verbalizer, vectors: Tensor, args: argparse.Namespace) -> None:
    """Compare greedy texts; in 16 bits batches of another size round otherwise."""
    greedy = argparse.Namespace(**vars(args) | {"temperature": 0.0})
    a, b, c = (way(av, vectors, greedy) for way in WAYS.values())
    same = [sum(x == y for x, y in zip(c, other, strict=True)) for other in (a, b)]
    lengths = [e.n_tokens for e in av.explain(vectors, sampling=Sampling(
        temperature=args.temperature, max_tokens=args.max_tokens))]  # fmt: skip
    print(
        f"Greedy texts of {len(c)} vectors, {len(set(c))} different: (c) equals (a) in {same[0]} "
        f"and (b) in {same[1]}. Tokens per text as timed: {sum(lengths) / len(lengths):.1f} on "
        f"average, {max(lengths)} at most. {args.dtype}, {args.threads} thread(s).\n"
    )
    if args.dtype == "float32" and set(same) != {len(c)}:
        raise SystemExit("the greedy texts differ")


def verbalizer(args: argparse.Namespace) -> Verbalizer:
    dtype = getattr(torch, args.dtype)
    if args.shape:
        return shaped(measure.SHAPES[args.shape], dtype, args.device)
    if args.av == UNTRAINED:
        return new_verbalizer(
            args.base, 2, injection_scale=8.0, **TEMPLATES, dtype=dtype, device=args.device
        )
    return Verbalizer.load(args.av, dtype=dtype, device=args.device)


def shaped(shape: dict[str, Any], dtype: torch.dtype, device: str) -> Verbalizer:
    """Return random weights of a model's shape behind the sandbox's tokenizer."""
    small = new_verbalizer(f"{SANDBOX}/base", 2, injection_scale=8.0, **TEMPLATES)
    filler = "explain " * (PROMPT_TOKENS - len(small.prompt.ids))
    width = shape["hidden_size"]
    template = filler + TEMPLATES["av_template"]
    changes = {"d_model": width, "mse_scale": width**0.5, "av_template": template}
    sidecar = small.sidecar.model_copy(update=changes)
    av = Verbalizer(measure.random_model(shape, dtype, device), small.tokenizer, sidecar)
    av.stop_ids = frozenset(range(0, shape["vocab_size"], ONE_TOKEN_ENDS_IN))
    # The sandbox's tokenizer does not know most of these ids.
    av.tokenizer.decode = lambda ids, **_: " ".join(map(str, ids))
    return av


def draw_vectors(av: Verbalizer, args: argparse.Namespace) -> Tensor:
    """Return `[n, d_model]` activations of the base on its corpus, or random ones for a shape."""
    n = max(args.vectors)
    torch.manual_seed(1)
    if args.shape:
        return torch.randn(n, av.d_model)
    folder = resolve_folder(args.base)
    tokenizer = load_tokenizer(folder)
    model = load_causal_lm(folder, dtype=torch.float32, device="cpu")
    lines = Path(args.corpus).read_text(encoding="utf-8").splitlines()
    texts = [tokenizer(json.loads(line)["text"])["input_ids"] for line in lines]
    states = torch.cat(capture(model, texts, layer=av.layer or 0))
    return states[torch.randint(len(states), (n,))]


def weight_bytes(model: Any) -> int:
    """Count the bytes that one forward pass reads: all weights, but of the embeddings few rows."""
    table = model.get_input_embeddings().weight
    tied = model.get_output_embeddings().weight is table
    total = sum(p.numel() * p.element_size() for p in model.parameters())
    return total if tied else total - table.numel() * table.element_size()


@contextlib.contextmanager
def counted(av: Verbalizer) -> Iterator[list[None]]:
    """Count forward passes."""
    passes: list[None] = []
    handle = av.model.register_forward_pre_hook(lambda *_: passes.append(None))
    try:
        yield passes
    finally:
        handle.remove()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--av", default=f"{SANDBOX}/nla/av", help=f"a folder, or `{UNTRAINED}`")
    parser.add_argument("--base", default=f"{SANDBOX}/base", help="model whose activations serve")
    parser.add_argument("--corpus", default=f"{SANDBOX}/corpus.jsonl", help="text it reads")
    parser.add_argument("--vectors", type=int, nargs="+", default=[1, 16, 256, 4096])
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--max-tokens", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=256, help="of (c)")
    parser.add_argument("--sample", type=int, default=64, help="most vectors (a) is timed on")
    parser.add_argument("--repeats", type=int, default=3)
    measure.add_common(parser)
    parser.add_argument("--bandwidth", type=float, default=4.8, help="TB/s; default: H200")
    parser.add_argument("--only", choices=["a", "b", "c"], help=argparse.SUPPRESS)
    return measure.parse(parser)


if __name__ == "__main__":
    main()
