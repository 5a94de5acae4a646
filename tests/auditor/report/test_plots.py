import itertools
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from auditor.errors import RunError, UsageError
from auditor.records import (
    Group,
    Hypothesis,
    Submission,
    TrialKey,
    TrialSummary,
    TrialUsage,
    Verdict,
)
from auditor.report.calibration import calibration
from auditor.report.cells import percent, percent_interval
from auditor.report.detection import detection
from auditor.report.heads import HeadsCurve, HeadsPoint
from auditor.report.plot_confidence import reliability, roc
from auditor.report.plot_curves import heads, tokens
from auditor.report.plot_panels import Named
from auditor.report.plot_style import WIDTH, Picture, PlotsMissingError, save, shown, styled
from auditor.report.plots import harder, rates
from auditor.report.rows import ALL, Row, table_rows
from auditor.scenario.schema import Ceiling

SVG = "{http://www.w3.org/2000/svg}"
TOOL_SETS = {
    "static": 0.1,
    "shuffled": 0.05,
    "black_box": 0.3,
    "nla": 0.8,
    "a-tool-set-with-a-name-that-is-far-too-long-for-any-chart": 0.9,
}
GROUPS: tuple[Group, ...] = ("guilty", "guilty", "guilty", "clean", "decoy")


def trial(run: str, tool_set: str, target: int, skill: float, rng: random.Random) -> TrialSummary:
    group = GROUPS[target % len(GROUPS)]
    guilty = group == "guilty"
    confidence = min(0.99, max(0.01, rng.gauss(skill if guilty else 0.2, 0.2)))
    claims, right = confidence > 0.5, guilty and rng.random() < confidence
    guess = Hypothesis(statement="it wants approval", kind="motive")
    return TrialSummary(
        key=TrialKey(run=run, target=f"t{target}", tool_set=tool_set, trial=0),
        group=group,
        regime=("documents-plain", "thoughts-hardened")[target % 2] if guilty else None,
        split="held-out",
        status="scored",
        submission=Submission(
            verdict="motive" if claims else "none",
            hypotheses=(guess,) if claims else (),
            withheld=None if claims else guess,
            confidence=confidence,
        ),
        verdict=Verdict(
            valid=True,
            top1=claims and right if guilty else None,
            any_of_k=claims and right if guilty else None,
            withheld_right=right if guilty and not claims else None,
            false_alarm=None if guilty else claims,
        ),
        usage=TrialUsage(target_tokens=round(2000 * skill) + len(run), reader_tokens=500),
        null_readout="shuffled" if tool_set == "shuffled" else None,
    )


def trials(run: str = "first", *, ease: float = 1.0, n: int = 40) -> list[TrialSummary]:
    rng = random.Random(7)
    return [
        trial(run, tool_set, target, skill * ease, rng)
        for tool_set, skill in TOOL_SETS.items()
        for target in range(n)
    ]


def rows_of(found: list[TrialSummary]) -> list[Row]:
    rows = table_rows(found, ceiling=Ceiling(top1=0.2, top3=0.6))
    return [row for row in rows if row.split == "held-out"]


def whole(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row.regime == ALL]


def measured(measure: Callable[[list[TrialSummary]], Any]) -> list[Named[Any]]:
    found: dict[str, list[TrialSummary]] = {}
    for one in trials():
        found.setdefault(one.key.tool_set, []).append(one)
    return [Named(name, name == "shuffled", measure(some)) for name, some in found.items()]


def curve(name: str, ks: tuple[int, ...] = (1, 2, 4, 8, 16)) -> HeadsCurve:
    points = tuple(
        HeadsPoint(
            k=k,
            rule="threshold",
            threshold=0.5,
            success=0.13 + k / 50,
            success_low=0.05 + k / 50,
            success_high=0.3 + k / 50,
            false_alarm=k / 100,
            false_alarm_low=0.0,
            false_alarm_high=0.3,
            n_guilty=24,
            n_innocent=16,
        )
        for k in ks
    )
    return HeadsCurve(
        run="first",
        tool_set=name,
        split="held-out",
        pool="linear",
        limit=0.05,
        seed=0,
        points=points,
        votes=points,
    )


def draw_heads() -> Picture:
    return heads([Named(name, name == "shuffled", curve(name)) for name in TOOL_SETS])


DRAW: dict[str, Callable[[], Picture]] = {
    "rates": lambda: rates(whole(rows_of(trials()))),
    "harder": lambda: harder([row for row in rows_of(trials()) if row.regime != ALL]),
    "roc": lambda: roc(measured(detection), split="held-out"),
    "reliability": lambda: reliability(measured(calibration), split="held-out"),
    "tokens": lambda: tokens(
        whole(rows_of([*trials("first", ease=0.5), *trials("second-run", ease=1.1)]))
    ),
    "heads": draw_heads,
}


@pytest.fixture(scope="module")
def pictures() -> dict[str, Picture]:
    return {name: draw() for name, draw in DRAW.items()}


@pytest.fixture(params=DRAW)
def picture(request: pytest.FixtureRequest, pictures: dict[str, Picture]) -> Picture:
    return pictures[request.param]


def svg_texts(path: Path) -> list[str]:
    root = ElementTree.parse(path).getroot()
    return ["".join(found.itertext()) for found in root.iter(f"{SVG}text")]


def visible(picture: Picture) -> Iterator[tuple[str, Bbox]]:
    """Every text of a picture that a reader sees, with its box in pixels."""
    figure = picture.figure
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    found: list[Text] = [*figure.texts]
    for axes in figure.axes:
        assert isinstance(axes, Axes)
        found += [*axes.texts, axes.xaxis.label, axes.yaxis.label]
        for axis in (axes.xaxis, axes.yaxis):
            found += [tick.label1 for tick in axis.get_major_ticks() if tick.label1.get_visible()]
    for text in found:
        if text.get_visible() and text.get_text().strip():
            yield text.get_text(), text.get_window_extent(renderer)


def test_no_two_texts_overlap_and_none_leaves_the_picture(picture: Picture) -> None:
    with styled():
        picture.figure.canvas.draw()
        boxes = list(visible(picture))
    page = picture.figure.bbox
    for text, box in boxes:
        assert box.x0 >= 0, text
        assert box.x1 <= page.x1, text
        assert box.y0 >= 0, text
        assert box.y1 <= page.y1, text
    for (text, box), (other, other_box) in itertools.combinations(boxes, 2):
        shared = Bbox.intersection(box, other_box)
        # Boxes have room for descenders, so that lines of text may touch by a pixel.
        assert shared is None or min(shared.width, shared.height) < 2, (text, other)


def test_a_picture_drawn_twice_is_the_same_file(picture: Picture, tmp_path: Path) -> None:
    first = save(picture, tmp_path / "a", "svg")
    second = save(DRAW[picture.name](), tmp_path / "b", "svg")
    assert first.name == f"{picture.name}.svg"
    assert first.read_bytes() == second.read_bytes()


def test_a_png_has_two_dots_a_pixel(pictures: dict[str, Picture], tmp_path: Path) -> None:
    content = save(pictures["rates"], tmp_path, "png").read_bytes()
    assert int.from_bytes(content[16:20]) == 2 * WIDTH


def test_an_svg_is_700_pixels_wide_and_dated_by_nothing(picture: Picture, tmp_path: Path) -> None:
    path = save(picture, tmp_path, "svg")
    root = ElementTree.parse(path).getroot()
    assert root.get("width") == f"{WIDTH * 72 / 96:g}pt"
    text = path.read_text()
    assert "<dc:date>" not in text
    assert "Matplotlib v" not in text


def test_an_svg_says_what_it_shows_to_those_who_cannot_see_it(
    picture: Picture, tmp_path: Path
) -> None:
    root = ElementTree.parse(save(picture, tmp_path, "svg")).getroot()
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert root.get("role") == "img"
    assert title is not None
    assert description is not None
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert title.text == picture.title
    assert description.text == picture.description
    assert all(name in picture.description for name in TOOL_SETS)


def test_every_chart_is_named(picture: Picture, tmp_path: Path) -> None:
    texts = svg_texts(save(picture, tmp_path, "svg"))
    for name in TOOL_SETS:
        assert name in texts or any(
            text.endswith("…") and name.startswith(text[:-1]) for text in texts
        )


def test_a_null_is_drawn_after_all_real_rows(picture: Picture, tmp_path: Path) -> None:
    texts = svg_texts(save(picture, tmp_path, "svg"))
    assert texts.index("shuffled") > max(
        texts.index(name) for name in ("static", "black_box", "nla")
    )


def test_rates_print_the_figures_of_the_table(pictures: dict[str, Picture], tmp_path: Path) -> None:
    texts = svg_texts(save(pictures["rates"], tmp_path, "svg"))
    for row in whole(rows_of(trials())):
        assert percent_interval(row.top1, row.top1_low, row.top1_high) in texts
        assert percent(row.false_alarm_clean) in texts
        assert percent(row.false_alarm_decoy) in texts
    assert "ideal black box, 20 %" in texts


def test_regimes_print_the_figures_of_the_table(
    pictures: dict[str, Picture], tmp_path: Path
) -> None:
    texts = svg_texts(save(pictures["harder"], tmp_path, "svg"))
    for row in rows_of(trials()):
        if row.regime != ALL:
            assert percent(row.top1) in texts
            assert percent_interval(row.top1, row.top1_low, row.top1_high) in (
                pictures["harder"].description
            )


def test_a_roc_has_the_curve_in_steps_and_its_area(
    pictures: dict[str, Picture], tmp_path: Path
) -> None:
    texts = svg_texts(save(pictures["roc"], tmp_path, "svg"))
    for row, axes in zip(
        sorted(measured(detection), key=lambda row: row.null),
        pictures["roc"].figure.axes,
        strict=True,
    ):
        found = row.value
        assert any(t.startswith(f"area {found.auc:.2f} / {found.lroc_area:.2f}") for t in texts)
        steps = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
        assert [np.asarray(line.get_ydata()).tolist() for line in steps] == [
            [point.localised for point in found.points],
            [point.detected for point in found.points],
        ]
    assert "16 innocent ones" in pictures["roc"].description
    assert "cannot tell 5 % from none" in pictures["roc"].description


def test_reliability_has_ece_brier_and_the_count_of_each_bin(
    pictures: dict[str, Picture], tmp_path: Path
) -> None:
    texts = svg_texts(save(pictures["reliability"], tmp_path, "svg"))
    for row in measured(calibration):
        found = row.value
        figures = f"ECE {found.ece:.2f} ({found.ece_floor:.2f}), Brier {found.brier:.2f}"
        assert figures in texts
        assert all(str(b.n) in texts for b in found.bins)


def test_tokens_are_those_of_target_and_verbalizer(pictures: dict[str, Picture]) -> None:
    rows = whole(rows_of(trials("first", ease=0.5)))
    for row in rows:
        assert row.target_tokens is not None
        assert row.reader_tokens == 500
        assert f"at {row.target_tokens + 500:.0f} tokens" in pictures["tokens"].description


def test_heads_print_the_first_and_the_last_rate(
    pictures: dict[str, Picture], tmp_path: Path
) -> None:
    texts = svg_texts(save(pictures["heads"], tmp_path, "svg"))
    assert "15 % → 45 %, alarms 1 % → 16 %" in texts
    assert {"1", "2", "4", "8", "16"} <= set(texts)


def test_a_curve_of_a_single_number_of_trials_is_drawn(tmp_path: Path) -> None:
    alone = heads([Named("nla", False, curve("nla", (1,)))])
    assert "15 %, alarms 1 %" in svg_texts(save(alone, tmp_path, "svg"))


def test_what_a_reader_of_a_curve_should_know_is_under_it() -> None:
    noted = curve("nla").model_copy(update={"notes": ("3 trials are left out.",)})
    drawn = heads([Named("nla", False, noted), Named("nla-warm", False, noted)])
    assert drawn.description.count("3 trials are left out.") == 1


def test_what_is_unknown_is_a_dash_and_draws_nothing(tmp_path: Path) -> None:
    row = Row(run="r", tool_set="t", n_targets=1, n_trials=1, n_clean=1, false_alarm_clean=0.0)
    texts = svg_texts(save(rates([row]), tmp_path, "svg"))
    assert texts.count("–") == 2
    assert not any("ideal" in text for text in texts)


def test_a_placebo_has_the_note_that_its_alarms_may_be_true() -> None:
    row = Row(run="r", tool_set="t", n_targets=1, n_trials=1, n_clean=1, false_alarm_clean=1.0)
    assert "placebo" not in rates([row]).description
    placebo = row.model_copy(update={"null_readout": "placebo"})
    assert "placebo" in rates([row, placebo]).description


HOSTILE = "</text><script>$x^2$&\x1b[31m\u202e\x00"


@pytest.mark.filterwarnings("ignore:Glyph .* missing")
def test_a_hostile_name_is_text_and_nothing_else(tmp_path: Path) -> None:
    rows = [
        row.model_copy(update={"tool_set": HOSTILE, "split": HOSTILE, "run": HOSTILE})
        for row in whole(rows_of(trials()))[:1]
    ]
    path = save(rates(rows), tmp_path, "svg")
    root = ElementTree.parse(path).getroot()
    assert not list(root.iter(f"{SVG}script"))
    assert shown(HOSTILE) in svg_texts(path)
    assert "\x1b" not in path.read_text()


@pytest.mark.filterwarnings("ignore:Glyph .* missing")
@settings(max_examples=15, deadline=None)
@given(name=st.text(max_size=40), regime=st.text(min_size=1, max_size=40))
def test_whatever_rows_are_called_the_file_is_xml(
    tmp_path_factory: pytest.TempPathFactory, name: str, regime: str
) -> None:
    row = Row(run="r", tool_set=name, regime=regime, n_targets=1, n_trials=1, n_guilty=1, top1=1.0)
    picture = harder([row])
    path = save(picture, tmp_path_factory.mktemp("names"), "svg")
    root = ElementTree.parse(path).getroot()
    assert root.findtext(f"{SVG}desc") is not None


def test_the_users_own_settings_change_nothing(tmp_path: Path) -> None:
    import matplotlib

    row = Row(run="r", tool_set="t", n_targets=1, n_trials=1, n_guilty=1, top1=0.5)
    plain = save(rates([row]), tmp_path / "plain", "svg").read_bytes()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "svg.hashsalt": "x"}):
        assert save(rates([row]), tmp_path / "odd", "svg").read_bytes() == plain


def test_a_missing_library_is_one_line_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    row = Row(run="r", tool_set="t", n_targets=1, n_trials=1, n_guilty=1, top1=0.5)
    with pytest.raises(PlotsMissingError, match=r"pip install 'auditor\[plots\]'") as missing:
        rates([row])
    assert isinstance(missing.value, UsageError)


def test_a_folder_that_cannot_be_made_is_one_line(picture: Picture, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        save(picture, tmp_path / "file" / "folder", "svg")
