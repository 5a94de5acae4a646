"""Finding out from its files alone whether a reader can be loaded and fits the models it reads.

Only local folders are inspected; what a hub id stands for shows when it is downloaded.
"""

import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from auditor.scenario.schema import Model, PairSpec, ReaderSpec
from auditor.target.preflight import (
    BadFileError,
    folder_mistakes,
    hidden_size,
    is_folder,
    layer_count,
    read_shapes,
)
from nla_core.sidecar import Sidecar, SidecarError, read_sidecar

_VALUE_HEAD = "value_head.safetensors"
_CALLED = {"av": "verbalizer", "ar": "reconstructor"}


class Flaw(NamedTuple):
    """Something wrong with a reader."""

    loc: tuple[str, ...]
    """Which part of the reader's description it is about; empty: all of it."""
    what: str


class _Placed(NamedTuple):
    """One pair of a reader."""

    loc: tuple[str, ...]
    layer: int | None
    """The layer that it is given for; None where the pair itself says."""
    pair: PairSpec


class _Side(NamedTuple):
    """What the files of a verbalizer or a reconstructor tell."""

    sidecar: Sidecar | None
    problems: tuple[str, ...]


def preflight_reader(spec: ReaderSpec) -> list[Flaw]:
    """Return what is wrong with a reader's files; empty when nothing is.

    Hub ids are not looked up, so they never have flaws here.
    """
    found = [flaw for placed in _placed(spec) for flaw in _pair_flaws(placed)]
    widths = {
        sidecar.d_model: placed
        for placed in _placed(spec)
        if (sidecar := _sidecar(placed.pair)) is not None
    }
    if not found and len(widths) > 1:
        listed = " and ".join(map(str, widths))
        found.append(Flaw((), f"its pairs are for models of different widths, {listed}"))
    return found


def reader_misfit(spec: ReaderSpec, model: Model) -> str | None:
    """Say why a reader cannot read a model's activations, or None when nothing speaks against it.

    Width and depth are compared, of local folders alone.
    """
    for placed in _placed(spec):
        sidecar = _sidecar(placed.pair)
        width = None if sidecar is None else sidecar.d_model
        problem = stream_misfit(model, width=width, layer=_layer(placed))
        if problem:
            return problem
    return None


def stream_misfit(model: Model, *, width: int | None, layer: int | None) -> str | None:
    """Say why what reads this layer, of this width, cannot read a model's; None: nothing does.

    What is None, and what the files of the model do not tell, is not compared.
    """
    if not is_folder(model.path):
        return None
    base = str(Path(model.path).expanduser())
    try:
        true_width, depth = hidden_size(base), layer_count(base)
    except BadFileError:
        return None
    if None not in (width, true_width) and width != true_width:
        return f"it reads activations of width {width}, the model's are {true_width} wide"
    if layer is not None and depth is not None and layer >= depth:
        return f"it reads layer {layer}, the model has layers 0 to {depth - 1}"
    return None


def _placed(spec: ReaderSpec) -> Iterator[_Placed]:
    if spec.av is not None and spec.ar is not None:
        yield _Placed((), None, PairSpec(av=spec.av, ar=spec.ar))
    for layer, pair in spec.pairs.items():
        yield _Placed(("pairs", str(layer)), layer, pair)


def _pair_flaws(placed: _Placed) -> list[Flaw]:
    sides = {name: _inspect(getattr(placed.pair, name), name) for name in ("av", "ar")}
    flaws = [
        Flaw((*placed.loc, name), problem)
        for name, side in sides.items()
        for problem in side.problems
    ]
    av, ar = sides["av"].sidecar, sides["ar"].sidecar
    if av is not None and ar is not None:
        problem = _mismatch(av, ar, placed.pair)
        return [Flaw(placed.loc, problem)] if problem else [*flaws, *_layer_flaws(placed, sides)]
    for name, side in sides.items():
        if side.sidecar is not None and side.sidecar.role != name:
            path, role = getattr(placed.pair, name), _CALLED[side.sidecar.role]
            flaws.append(Flaw((*placed.loc, name), f"{path} is a {role}, not a {_CALLED[name]}"))
    return [*flaws, *_layer_flaws(placed, sides)]


def _mismatch(av: Sidecar, ar: Sidecar, pair: PairSpec) -> str | None:
    from nla_core.pair_checks import PairWarning, check_pair

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PairWarning)
            check_pair(av, ar, av_name=pair.av, ar_name=pair.ar)
    except SidecarError as error:
        return str(error)
    return None


def _layer_flaws(placed: _Placed, sides: dict[str, _Side]) -> Iterator[Flaw]:
    for name, side in sides.items():
        known = None if side.sidecar is None else side.sidecar.layer
        if placed.layer is not None and known not in (None, placed.layer):
            path = getattr(placed.pair, name)
            what = f"{path} is for layer {known}, it was given for {placed.layer}"
            yield Flaw((*placed.loc, name), what)


@lru_cache(maxsize=64)
def _inspect(path: str, name: str) -> _Side:
    """Read the sidecar of a verbalizer (`av`) or a reconstructor (`ar`), and check its files."""
    if not is_folder(path):
        return _Side(None, ())
    folder = Path(path).expanduser()
    if not folder.is_dir():
        return _Side(None, (f"{_CALLED[name]} folder {path} does not exist; correct `{name}`",))
    try:
        sidecar = read_sidecar(folder)
    except SidecarError as error:
        return _Side(None, (str(error),))
    if not (folder / "config.json").is_file():
        return _Side(sidecar, (f"{path} has no config.json; fetch it again",))
    problems = folder_mistakes(folder, chats=sidecar.role == "av")
    if sidecar.role == "ar":
        problems += _head_mistakes(folder / _VALUE_HEAD, sidecar.d_model)
    return _Side(sidecar, tuple(dict.fromkeys(problems)))


def _head_mistakes(path: Path, width: int) -> Iterator[str]:
    if not path.is_file():
        yield f"{path} does not exist; a reconstructor needs its value head"
        return
    try:
        shapes = list(read_shapes(path).values())
    except BadFileError as error:
        yield str(error)
        return
    if shapes != [(width, width)]:
        yield f"{path} must hold one tensor of {width} x {width}; fetch it again"


def _sidecar(pair: PairSpec) -> Sidecar | None:
    """Return what is known of a pair's width, from whichever of the two is here."""
    return _inspect(pair.ar, "ar").sidecar or _inspect(pair.av, "av").sidecar


def _layer(placed: _Placed) -> int | None:
    """Return the layer of a pair as far as files tell."""
    if placed.layer is not None:
        return placed.layer
    paths = {"av": placed.pair.av, "ar": placed.pair.ar}
    sides = [(path, _inspect(path, name).sidecar) for name, path in paths.items()]
    known = [side.layer for _, side in sides if side is not None and side.layer is not None]
    if known:
        return known[0]
    for path, side in sides:
        if side is not None and side.role == "ar":
            try:
                blocks = layer_count(str(Path(path).expanduser()))
            except BadFileError:
                return None
            return None if blocks is None else blocks - 1
    return None
