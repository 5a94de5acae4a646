"""How much faster the batched sampler is than Transformers' `generate`, on a tiny random Llama.

    python benchmarks/decoding.py [--rows 48] [--tokens 48] [--prompt 48] [--prefix 24]

Prompts are token ids of several lengths, no row ends early. Prints seconds of three ways to draw
the same number of tokens, and their ratios.
"""

import argparse
import random
from typing import Any

import _measure as measure
import torch

from nla_core.decoding import generate
from nla_core.sampling import Sampling

VOCAB = 2048


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    shape = measure.SANDBOX | {"num_hidden_layers": 4, "vocab_size": VOCAB}
    model = measure.random_model(shape, torch.float32, "cpu")
    prompts = draw_prompts(args.rows, args.prompt, args.prefix)
    ways = {
        "generate, one at a time": lambda: one_at_a_time(model, prompts, args.tokens),
        "generate, one batch": lambda: one_batch(model, prompts, args.tokens),
        "nla_core.decoding": lambda: ours(model, prompts, args.tokens),
    }
    seconds = measure.interleaved(ways, args.repeats)
    best = seconds["nla_core.decoding"]
    drawn = args.rows * args.tokens
    for name, took in seconds.items():
        print(f"{name:26} {took:8.3f} s {drawn / took:10.0f} tokens/s {took / best:8.2f} x")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--tokens", type=int, default=48, help="tokens drawn per row")
    parser.add_argument("--prompt", type=int, default=48, help="longest prompt")
    parser.add_argument("--prefix", type=int, default=24, help="tokens all prompts share")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def draw_prompts(n: int, longest: int, prefix: int) -> list[list[int]]:
    rng = random.Random(0)
    shared = [rng.randrange(3, VOCAB) for _ in range(prefix)]
    own = max(longest - prefix, 1)
    return [
        shared + [rng.randrange(3, VOCAB) for _ in range(rng.randint(1, own))] for _ in range(n)
    ]


def one_at_a_time(model: Any, prompts: list[list[int]], tokens: int) -> None:
    for prompt in prompts:
        one_batch(model, [prompt], tokens)


def one_batch(model: Any, prompts: list[list[int]], tokens: int) -> None:
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    with torch.inference_mode():
        model.generate(
            ids,
            attention_mask=mask,
            do_sample=True,
            top_k=0,
            max_new_tokens=tokens,
            eos_token_id=None,
            pad_token_id=0,
        )


def ours(model: Any, prompts: list[list[int]], tokens: int) -> None:
    generate(
        model,
        prompts,
        sampling=Sampling(max_tokens=tokens),
        seeds=range(len(prompts)),
        decode=lambda ids: " ".join(map(str, ids)),
    )


if __name__ == "__main__":
    main()
