"""How much faster `nla_core.activations.capture` is than `output_hidden_states=True`.

    python benchmarks/capture.py [--depths 4 12 24] [--texts 256] [--tokens 96]
    python benchmarks/capture.py --shape qwen2.5-7b --device cuda --texts 64 --tokens 512

Reads the residual stream at two-thirds depth, at the last token of texts of random lengths, from
random weights: a Llama as wide as the sandbox's, of several depths, or a known model's shape. Three
ways on the same weights: (a) the model with `output_hidden_states=True`, as people write it, (b)
the best that flag allows: no head on top, texts sorted by length, no mask, (c) `capture`. They must
agree. They run in turn in one process (medians); memory is measured in a process of its own.
"""

import argparse
import random
from collections.abc import Sequence
from typing import Any

import _measure as measure
import torch
from torch import Tensor

from nla_core import arch
from nla_core.activations import capture


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    if args.only:
        model, texts = random_model(args, args.depths[0]), random_texts(args)
        WAYS[args.only](model, texts[:2], args)  # what the first run of a process sets up
        measure.print_peak(lambda: WAYS[args.only](model, texts, args), args.device)
        return
    print(
        f"{args.texts} texts of {args.tokens // 4} to {args.tokens} tokens, {args.batch_size} at "
        f"once, last token of each. {args.dtype}, {args.threads} thread(s).\n"
    )
    names = ["blocks", "layer", "way", "texts/s", "(c) is faster by", "peak MB above the model"]
    measure.print_header(names)
    for depth in args.depths:
        compare(args, depth)


def compare(args: argparse.Namespace, depth: int) -> None:
    peaks = {name: measure.peak_in_child("--only", name, "--depths", depth) for name in WAYS}
    model, texts = random_model(args, depth), random_texts(args)
    check_states(model, texts, args)
    ways = {name: lambda way=way: way(model, texts, args) for name, way in WAYS.items()}
    seconds = measure.interleaved(ways, args.repeats, args.device)
    for name, took in seconds.items():
        faster, peak = f"{took / seconds['c']:.2f}", measure.megabytes(peaks[name])
        title, rate = f"({name}) {TITLES[name]}", f"{len(texts) / took:.1f}"
        measure.print_row([len(arch.blocks(model)), two_thirds(model), title, rate, faster, peak])


def as_written(model: Any, texts: list[list[int]], args: argparse.Namespace) -> Tensor:
    found = []
    for start in range(0, len(texts), args.batch_size):
        batch = texts[start : start + args.batch_size]
        ids, lengths = padded(batch, args.device)
        mask = (torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]).long()
        with torch.no_grad():
            out = model(
                input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False
            )
        states = out.hidden_states[two_thirds(model) + 1]
        found.append(states[torch.arange(len(batch)), lengths - 1].float().cpu())
    return torch.cat(found)


def at_its_best(model: Any, texts: list[list[int]], args: argparse.Namespace) -> Tensor:
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    found = torch.empty(len(texts), arch.d_model(model))
    for start in range(0, len(texts), args.batch_size):
        chunk = order[start : start + args.batch_size]
        ids, lengths = padded([texts[i] for i in chunk], args.device)
        with torch.inference_mode():
            out = model.model(input_ids=ids, output_hidden_states=True, use_cache=False)
            states = out.hidden_states[two_thirds(model) + 1]
            found[chunk] = states[torch.arange(len(chunk)), lengths - 1].float().cpu()
    return found


def ours(model: Any, texts: list[list[int]], args: argparse.Namespace) -> Tensor:
    return torch.cat(
        capture(
            model,
            texts,
            layer=two_thirds(model),
            positions=[[-1]] * len(texts),
            batch_size=args.batch_size,
        )
    )


WAYS = {"a": as_written, "b": at_its_best, "c": ours}
TITLES = {
    "a": "output_hidden_states",
    "b": "the same, no head, sorted, no mask",
    "c": "activations.capture",
}


def check_states(model: Any, texts: list[list[int]], args: argparse.Namespace) -> None:
    found = {name: way(model, texts, args) for name, way in WAYS.items()}
    tolerance = 1e-4 if args.dtype == "float32" else 5e-2
    size = found["a"].abs().max()
    for name in ("a", "b"):
        apart = float((found[name] - found["c"]).abs().max() / size)
        if not apart <= tolerance:
            raise SystemExit(f"({name}) and (c) differ by {apart:.1e} of the largest value")


def padded(batch: Sequence[Sequence[int]], device: str) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(row) for row in batch], device=device)
    longest = max(map(len, batch))
    return torch.tensor([[*r, *[0] * (longest - len(r))] for r in batch], device=device), lengths


def two_thirds(model: Any) -> int:
    return round(len(arch.blocks(model)) * 2 / 3) - 1


def random_model(args: argparse.Namespace, depth: int) -> Any:
    small = measure.SANDBOX | {"num_hidden_layers": depth}
    shape = measure.SHAPES[args.shape] if args.shape else small
    return measure.random_model(shape, getattr(torch, args.dtype), args.device)


def random_texts(args: argparse.Namespace) -> list[list[int]]:
    rng = random.Random(0)
    lengths = [rng.randint(max(args.tokens // 4, 1), args.tokens) for _ in range(args.texts)]
    return [[rng.randrange(3, measure.SANDBOX["vocab_size"]) for _ in range(n)] for n in lengths]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depths", type=int, nargs="+", default=[4, 12, 24], help="of the Llama")
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=96, help="of the longest text")
    parser.add_argument("--batch-size", type=int, default=64)
    measure.add_common(parser)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=["a", "b", "c"], help=argparse.SUPPRESS)
    args = measure.parse(parser)
    if args.shape:
        args.depths = [0]  # the shape says
    return args


if __name__ == "__main__":
    main()
