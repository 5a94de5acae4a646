"""Timing, peak memory, random models and options, shared by the benchmarks."""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

Way = Callable[[], Any]
SANDBOX: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 916,
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
}
"""Shape of the sandbox's models, but for their depth."""
_QWEN = {"model_type": "qwen2", "max_position_embeddings": 32768}
SHAPES: dict[str, dict[str, Any]] = {
    "qwen2.5-7b": _QWEN
    | {"vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944}
    | {"num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4}
    | {"tie_word_embeddings": False},
    "qwen2.5-0.5b": _QWEN
    | {"vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864}
    | {"num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2}
    | {"tie_word_embeddings": True},
}
_STATUS = Path("/proc/self/status")
_GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""Make glibc give freed memory back at once, so that what is resident is what is in use."""
_PEAK_MARK = "peak bytes:"


def interleaved(ways: dict[str, Way], repeats: int, device: str = "cpu") -> dict[str, float]:
    """Run the ways in turn, again and again; return the median seconds of each.

    In turn, because the speed of a shared machine drifts. With one thread on a CPU they are
    the processor's, which other work disturbs less; on an idle machine both are the same.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            seconds[name].append(timed(way, device))
    return {name: statistics.median(found) for name, found in seconds.items()}


def timed(way: Way, device: str = "cpu") -> float:
    alone = device == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    _wait(device)
    start = clock()
    way()
    _wait(device)
    return clock() - start


def print_peak(way: Way, device: str = "cpu") -> None:
    """Run one way and print the memory that it took above what was taken before.

    On a CPU that is resident memory. `ru_maxrss` will not do on Linux: a child inherits the peak
    of its parent.
    """
    before = _start_peak(device)
    way()
    print(_PEAK_MARK, _peak(device) - before)


def peak_in_child(*options: object) -> int | None:
    """Run the calling script again with more options; return the bytes it printed by `print_peak`.

    None when it ran out of memory.
    """
    command = [sys.executable, *sys.argv, *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | _GIVE_BACK)
    found = [line for line in done.stdout.splitlines() if line.startswith(_PEAK_MARK)]
    if found:
        return int(found[-1].removeprefix(_PEAK_MARK))
    if done.returncode == -9 or "OutOfMemoryError" in done.stderr:
        return None
    raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")


def megabytes(n_bytes: int | None) -> str:
    return "out of memory" if n_bytes is None else f"{n_bytes / 2**20:.0f}"


def print_row(cells: Iterable[object]) -> None:
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def print_header(names: Sequence[str]) -> None:
    print_row(names)
    print_row([":--", *["--:"] * (len(names) - 1)])


def random_model(shape: dict[str, Any], dtype: torch.dtype, device: str) -> Any:
    """Return a causal language model of a shape, with random weights."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(**shape), dtype=dtype).eval()


def add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--shape", choices=sorted(SHAPES), help="random weights of this shape")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--threads", type=int, default=1)


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    args = parser.parse_args()
    args.dtype = args.dtype or ("float32" if args.device == "cpu" else "bfloat16")
    return args


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _start_peak(device: str) -> int:
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    return _peak(device)


def _peak(device: str) -> int:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    if _STATUS.exists():
        line = next(i for i in _STATUS.read_text().splitlines() if i.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
