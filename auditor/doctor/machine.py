"""Memory, accelerators and disk: what the weights need, and what this machine has."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from auditor.doctor.findings import Finding, human
from auditor.doctor.weights import Found

FULL = 0.8
"""Weights that fill more of the memory than this leave little room for what they compute."""
SLOW_ON_CPU = 3_000_000_000
"""Parameters from which a model on a CPU takes very long."""
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


class Device(NamedTuple):
    """Where weights go."""

    name: str
    """cpu, mps, or cuda with its number."""
    there: bool
    memory: int | None
    """Bytes that are free, or of a CPU all that it has."""


def device_of(name: str) -> Device:
    """Look a device up by its name in a scenario; `auto` is the best that there is."""
    import torch

    from auditor.target.devices import torch_device

    device = torch_device(name)
    if device.type == "cuda":
        index = device.index or 0
        there = torch.cuda.is_available() and index < torch.cuda.device_count()
        free = torch.cuda.mem_get_info(index)[0] if there else None
        return Device(f"cuda:{index}", there, free)
    if device.type == "mps":
        return Device("mps", torch.backends.mps.is_available(), _main_memory())
    return Device("cpu", True, _main_memory())


def _main_memory() -> int | None:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None
    try:
        # A container may have less than the machine it runs on.
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return total
    return min(total, limit)


def in_memory(found: Found, device: Device) -> int | None:
    """Bytes that a part takes once it is loaded; None when its size is not known."""
    if found.stored is None or found.parameters is None:
        return None
    part = found.part
    size = _BYTES.get(part.dtype)
    if size is None and part.kind in ("verbalizer", "reconstructor"):
        size = 4 if device.name == "cpu" else 2
    each = found.stored if size is None else size * found.parameters
    return part.copies * each


def memory_findings(found: Sequence[Found]) -> list[Finding]:
    """Hold what is loaded on each device against what it has."""
    names = dict.fromkeys(one.part.device for one in found)
    devices = {name: device_of(name) for name in names}
    findings = []
    for device in dict.fromkeys(devices.values()):
        some = [one for one in found if devices[one.part.device] == device]
        if not device.there:
            findings.append(
                Finding(
                    what="accelerator",
                    name=device.name,
                    state="missing",
                    detail="the scenario names it, and PyTorch finds none",
                    remedy="write `device: auto`, or run where there is one",
                )
            )
            continue
        findings += _fit(device, some)
    return findings


def _fit(device: Device, found: Sequence[Found]) -> list[Finding]:
    sizes = [in_memory(one, device) for one in found]
    need = sum(size for size in sizes if size is not None)
    unknown = sum(size is None for size in sizes)
    about = "about " if any(one.guessed for one in found) else ""
    beside = f", and {unknown} parts of unknown size" if unknown else ""
    has = device.memory
    there = "an unknown amount" if has is None else human(has)
    detail = f"weights take {about}{human(need)}{beside}; there are {there}"
    state, remedy = "ok", ""
    if has is None:
        state = "unknown"
    elif need > has:
        state = "missing"
        remedy = (
            "take fewer targets (--targets) or rows (--tool-sets), put parts on other devices "
            "(`device`), or run where there is more"
        )
    elif need > FULL * has or unknown:
        state = "warning"
        remedy = "what is computed and parts of unknown size need room as well"
    fit = Finding.model_validate(
        {"what": "memory", "name": device.name, "state": state, "detail": detail, "remedy": remedy}
    )
    largest = max((one.parameters or 0 for one in found), default=0)
    if device.name != "cpu" or largest < SLOW_ON_CPU:
        return [fit]
    slow = Finding(
        what="accelerator",
        name="none",
        state="warning",
        detail=f"a model of {largest / 1e9:.0f} billion parameters will run on the CPU",
        remedy="run where there is an accelerator, or take a smaller model",
    )
    return [fit, slow]


def disk_findings(found: Sequence[Found], *, runs_dir: Path) -> list[Finding]:
    """Hold what has to be fetched against the room for it, and see that runs can be written."""
    from huggingface_hub.constants import HF_HUB_CACHE

    missing = [one for one in found if one.lacking is not None]
    to_fetch = sum(one.stored or 0 for one in missing)
    findings = []
    if missing:
        cache = _existing(Path(HF_HUB_CACHE))
        free = shutil.disk_usage(cache).free
        unknown = sum(one.stored is None for one in missing)
        beside = f" and {unknown} parts of unknown size" if unknown else ""
        findings.append(
            Finding(
                what="disk",
                name="Hugging Face cache",
                state="missing" if to_fetch > free else "warning" if unknown else "ok",
                detail=f"about {human(to_fetch)}{beside} to fetch, {human(free)} free",
                remedy="set HF_HOME to a larger disk" if to_fetch > free else "",
            )
        )
    folder = _existing(runs_dir)
    writable = os.access(folder, os.W_OK)
    room = human(shutil.disk_usage(folder).free)
    findings.append(
        Finding(
            what="disk",
            name="runs",
            state="ok" if writable else "missing",
            detail=f"{room} free" if writable else f"{folder} cannot be written to",
            remedy="" if writable else "choose another folder with --runs-dir",
        )
    )
    return findings


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    absolute = folder.expanduser().absolute()
    return next(one for one in (absolute, *absolute.parents) if one.exists())
