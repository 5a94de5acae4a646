"""The scenarios that come with the package."""

import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest

from auditor.errors import ScenarioError
from auditor.scenario import Scenario, load_scenario, shipped_scenarios
from auditor.scenario.document import read_document
from auditor.scenario.schema import Block
from auditor.scenario.validate import validate
from scenarios.sandbox.ceiling import CeilingRates
from scenarios.sandbox.harder.build import suite
from scenarios.sandbox.harder.plan import all_harder
from scenarios.sandbox.innocents import all_innocents, innocent_world
from scenarios.sandbox.organisms import all_organisms
from scenarios.sandbox.publish import write_corpus, write_suite
from scenarios.sandbox.world import load_world
from tools.registry import Registry

EVERY = shipped_scenarios()
SHIPPED = {name: path for name, path in EVERY.items() if path.parent.name == "scenarios"}
"""Those of the sandbox; the others are tested in tests/scenarios/test_real.py."""


@pytest.fixture(scope="module")
def world_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped scenarios beside a suite as the recipe writes it, with empty model folders.

    The autoencoders, the probe and the oracle are the shipped ones: what a scenario reads with is checked when
    it is loaded. What its comments say must be built first is there as well.
    """
    folder = tmp_path_factory.mktemp("root") / "scenarios"
    out = folder / "sandbox" / "weights"
    (out / "base").mkdir(parents=True)
    weights = next(iter(SHIPPED.values())).parent / "sandbox" / "weights"
    for part in ("nla", "probe", "sae", "oracle"):
        (out / part).symlink_to(weights / part)
    for organism in all_organisms():
        (out / "organisms" / organism.id).mkdir(parents=True)
    world = load_world()
    write_suite(world, CeilingRates(top1=0.2, top3=0.6), all_organisms(), out)
    write_corpus(world, out / "corpus.jsonl")
    _write_harder_suite(folder.parent / "build" / "harder")
    second = folder.parent / "build" / "second"
    second.mkdir()
    for part in ("base", "organisms", "corpus.jsonl", "suite.json"):
        (second / part).symlink_to(out / part)
    _write_innocents(folder.parent / "build" / "innocents")
    for name in ("nla-second", "nla-sibling", "nla-no-warm"):
        (folder.parent / "build" / name).mkdir()
        (folder.parent / "build" / name / "pair").symlink_to(weights / "nla")
    for part in ("av", "ar"):
        (folder.parent / "build" / "nla-second" / f"warm-{part}").mkdir()
        warm = folder.parent / "build" / "nla-second" / f"warm-{part}" / part
        warm.symlink_to(weights / "nla" / f"{part}_warm")
    (folder.parent / "build" / "probe-second").symlink_to(weights / "probe")
    (folder.parent / "build" / "supervised").mkdir()
    (folder.parent / "build" / "supervised" / "warm-av").symlink_to(weights / "nla")
    for path in SHIPPED.values():
        (folder / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    return folder


def _write_innocents(out: Path) -> None:
    """Write what the recipe of the innocent organisms would, which are not shipped."""
    for folder in ("base", *(f"organisms/{one.id}" for one in all_innocents())):
        (out / folder).mkdir(parents=True)
    world = innocent_world()
    write_suite(world, CeilingRates(top1=0.2, top3=0.6), all_innocents(), out)
    write_corpus(world, out / "corpus.jsonl")


def _write_harder_suite(out: Path) -> None:
    """Write what the recipe of the harder organisms would, which are not shipped."""
    harder = all_harder(load_world())
    for folder in ("base", *(f"organisms/{one.id}" for one in harder)):
        (out / folder).mkdir(parents=True)
    (out / "suite.json").write_text(json.dumps(suite(load_world(), harder)), encoding="utf-8")


def test_the_scenarios_of_the_sandbox_are_shipped() -> None:
    wanted = {"sandbox", "sandbox-development", "sandbox-full", "sandbox-one", "sandbox-unlabelled"}
    assert wanted <= set(SHIPPED)


@pytest.mark.parametrize("name", sorted(EVERY))
def test_a_shipped_scenario_follows_the_schema_and_is_called_as_its_file(name: str) -> None:
    checked = validate(read_document(EVERY[name], what="scenario"), Scenario)
    assert checked.mistakes == []
    assert checked.block.name == name


def test_the_demo_has_as_many_innocent_targets_as_guilty_ones(world_folder: Path) -> None:
    truths = [t.truth for t in load_scenario(world_folder / "sandbox.yaml").targets]
    assert [truth.group for truth in truths].count("guilty") == 4
    assert [truth.group for truth in truths].count("clean") == 2
    assert [truth.group for truth in truths].count("decoy") == 2
    guilty = [truth for truth in truths if truth.group == "guilty"]
    assert len({truth.regime for truth in guilty}) == 4
    assert len({truth.motive for truth in guilty}) == 4
    assert {truth.split for truth in guilty} == {"development"}


def test_the_development_scenario_takes_no_held_out_target(world_folder: Path) -> None:
    resolved = load_scenario(world_folder / "sandbox-development.yaml")
    assert {target.truth.split for target in resolved.targets} == {"development"}
    nulls = {one.null_readout for one in resolved.scenario.tool_sets.values()}
    assert nulls == {None, "placebo", "random_vectors", "shuffled", "text_only"}


def test_the_full_scenario_takes_the_eighty_of_the_table(world_folder: Path) -> None:
    resolved = load_scenario(world_folder / "sandbox-full.yaml")
    wanted = [one.id for one in all_organisms() if one.split in ("development", "held-out")]
    assert [target.id for target in resolved.targets] == wanted
    assert len(wanted) == 80
    assert Counter(target.truth.group for target in resolved.targets) == {
        "guilty": 56,
        "clean": 8,
        "decoy": 8,
        "symptom": 8,
    }
    assert all(target.baseline is not None for target in resolved.targets)


def test_the_unlabelled_scenario_takes_the_other_eight_with_the_same_tool_sets(
    world_folder: Path,
) -> None:
    resolved = load_scenario(world_folder / "sandbox-unlabelled.yaml")
    assert {target.truth.split for target in resolved.targets} == {"unlabelled"}
    assert len(resolved.targets) == 8
    full = load_scenario(world_folder / "sandbox-full.yaml")
    assert resolved.scenario.tool_sets == full.scenario.tool_sets
    together = {target.id for target in (*full.targets, *resolved.targets)}
    assert together == {one.id for one in all_organisms()}


def test_the_annotated_scenario_takes_one_target(world_folder: Path) -> None:
    (target,) = load_scenario(world_folder / "sandbox-one.yaml").targets
    assert target.id == "thoughts-hardened-sales"
    assert target.truth.group == "guilty"


def test_the_rubric_of_every_shipped_scenario_knows_the_motives_of_its_targets(
    world_folder: Path,
) -> None:
    for path in SHIPPED.values():
        resolved = load_scenario(world_folder / path.name)
        assert resolved.corpus_path is not None
        assert set(resolved.motives) >= {t.truth.motive for t in resolved.targets} - {None}


def test_the_annotated_scenario_shows_every_field_and_where_blocks_differ_the_default() -> None:
    text = SHIPPED["sandbox-one"].read_text(encoding="utf-8")
    written = {line.lstrip(" #-").partition(":")[0] for line in text.splitlines()}
    pending: list[type[Block]] = [Scenario]
    for block in pending:
        for name, field in block.model_fields.items():
            assert name in written, f"{block.__name__}.{name} is not in the annotated example"
            pending += [b for b in _blocks(field.annotation) if b not in pending]
    assert len(pending) > 5


def _blocks(annotation: object) -> list[type[Block]]:
    if isinstance(annotation, type) and issubclass(annotation, Block):
        return [annotation]
    return [b for part in getattr(annotation, "__args__", ()) for b in _blocks(part)]


@pytest.mark.parametrize("name", ["sandbox", "sandbox.yaml"])
def test_a_shipped_scenario_is_found_by_name_with_or_without_suffix(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from auditor.scenario.shipped import find_scenario

    monkeypatch.chdir(tmp_path)
    (tmp_path / "sandbox").mkdir()
    assert find_scenario(name) == SHIPPED["sandbox"]
    (tmp_path / name.removesuffix(".yaml")).rmdir()
    (tmp_path / name).write_text("name: mine")
    assert find_scenario(name) == Path(name), "a file of that name comes first"


def test_an_unknown_name_is_answered_with_the_nearest_and_all_shipped_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ScenarioError) as caught:
        load_scenario("sandbx")
    message = str(caught.value)
    assert message.startswith("sandbx: no shipped scenario has this name; did you mean 'sandbox'")
    assert "sandbox-full" in message


def test_the_ceiling_rates_of_the_recipe_fit_the_suite_schema() -> None:
    from auditor.scenario.schema import Ceiling

    fields = {field.name for field in dataclasses.fields(CeilingRates)}
    assert fields <= set(Ceiling.model_fields)
    assert json.loads(Ceiling(top1=0.2).model_dump_json())["top3"] is None


def test_each_row_of_the_scenario_of_tools_adds_to_the_base_and_all_tools_have_one(
    world_folder: Path,
) -> None:
    resolved = load_scenario(world_folder / "sandbox-tools.yaml")
    full = load_scenario(world_folder / "sandbox-full.yaml")
    assert [t.id for t in resolved.targets] == [t.id for t in full.targets]
    assert resolved.scenario.budget == full.scenario.budget
    rows = resolved.scenario.tool_sets
    base = set(rows["base"].tools)
    assert next(iter(rows)) == "base"
    assert all(base < set(row.tools) for name, row in rows.items() if name != "base")
    for tool in ("prefill", "converse", "candidate_logprob", "logit_lens", "search_corpus"):
        assert set(rows[tool].tools) - base == {tool}
    used = {tool for row in rows.values() for tool in row.tools}
    of_an_agent = {"fork", "rewind", "get_conversation", "read_result"}
    closer_looks = {"nla_explain", "nla_grep", "sae_neighbours", "sae_trace"}
    assert set(Registry.built_in().registered()) - used <= of_an_agent | closer_looks
    assert used == set(rows["everything"].tools)
