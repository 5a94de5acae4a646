"""From a scenario file to targets, baselines and wordings that are ready to run."""

from pathlib import Path
from typing import Any

from auditor.errors import Mistake, ScenarioError
from auditor.scenario.blocks import scenario_model, take_apart
from auditor.scenario.calibrators import open_calibrator
from auditor.scenario.checks import (
    Offer,
    Placed,
    check_corpus,
    check_ids,
    check_judge,
    check_rubric,
    check_tool_sets,
    check_truth,
)
from auditor.scenario.diagnose import Loc, shorten
from auditor.scenario.document import Document, read_document
from auditor.scenario.language_models import (
    check_roles,
    locate_roles,
    locate_served,
    reach,
    served_mistake,
)
from auditor.scenario.layer_files import Opened, open_probe, open_sae
from auditor.scenario.models import absolute, is_file, locate
from auditor.scenario.oracles import OpenedOracle, open_oracle
from auditor.scenario.readers import (
    ReaderShelf,
    check_fit,
    check_placebos,
    open_readers,
    readers_of_rows,
)
from auditor.scenario.schema import (
    AnyModel,
    Ceiling,
    CorpusSpec,
    JudgeSpec,
    Model,
    ResolvedScenario,
    ServedModel,
    SuiteRef,
    TargetSpec,
    Truth,
    model_class,
)
from auditor.scenario.select import select
from auditor.scenario.shipped import find_scenario
from auditor.scenario.suites import OpenedSuite, SuiteShelf
from auditor.scenario.toolfiles import locate_tools, tool_files
from auditor.scenario.validate import salvage, sound_indices, validate


def load_scenario(name_or_path: str | Path) -> ResolvedScenario:
    """Read a scenario, open its suites, and check everything that files can tell.

    Args:
        name_or_path: A file, or the name of a shipped scenario such as `sandbox`.

    Raises:
        ScenarioError: With every mistake found, each at its line.
    """
    path = find_scenario(name_or_path)
    document = read_document(path, what="scenario")
    locate_tools(document)
    checked = validate(document, scenario_model())
    resolver = _Resolver(document)
    resolver.resolve()
    mistakes = {*checked.mistakes, *resolver.mistakes, *resolver.shelf.mistakes}
    if mistakes:
        raise ScenarioError(list(mistakes))
    scenario, blocks = take_apart(checked.block)
    scenario = locate_roles(scenario, resolver.folder)
    return ResolvedScenario(
        source=path.absolute(),
        scenario=scenario,
        targets=tuple(placed.spec for placed in resolver.targets),
        corpus_path=resolver.corpus,
        probe_path=resolver.probe.folder,
        sae_path=resolver.sae.folder,
        oracle=resolver.oracle.spec,
        tool_files=tool_files(scenario.tool_sets),
        calibrator=resolver.calibrator.content,
        readers=readers_of_rows(scenario.tool_sets, resolver.readers.readers),
        motives=resolver.motives(scenario.judge),
        descriptions=resolver.descriptions(scenario.judge),
        ceiling=scenario.ceiling or resolver.ceiling(),
        blocks=blocks,
    )


class _Resolver:
    """Works on whatever of the file is sound, so that one pass finds every mistake."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.folder = document.path.absolute().parent
        self.shelf = SuiteShelf(self.folder)
        self.targets: list[Placed] = []
        self.readers = ReaderShelf({}, (), [])
        self.probe = Opened(None, [])
        self.sae = Opened(None, [])
        self.oracle = OpenedOracle(None, [])
        self.calibrator = open_calibrator(document, self.folder)
        self.corpus: Path | None = None
        self.mistakes: list[Mistake] = [*self.calibrator.mistakes]
        self._suites: list[OpenedSuite] = []
        self._preflighted: dict[Model, list[str]] = {}
        self._baseline: AnyModel | None = None
        self._bare: list[str] = []

    def resolve(self) -> None:
        data = self.document.data
        written = data.get("baseline")
        baseline = None if written is None else salvage(model_class(written), written)
        if baseline is not None:
            self._baseline = self._model(baseline, ("baseline",))
        self._resolve_corpus(data.get("corpus"))
        entries = data.get("targets")
        for index, entry in enumerate(entries if isinstance(entries, list) else []):
            self._resolve_entry(("targets", index), entry)
        self.mistakes += check_ids(self.targets)
        self._resolve_readers()
        if isinstance(data.get("tool_sets"), dict):
            bare = next(iter(self._bare), None) if written is None else None
            offer = Offer(
                data.get("corpus") is not None,
                bare,
                self.readers.names,
                data.get("probe") is not None,
                data.get("sae") is not None,
                reach(placed.spec for placed in self.targets),
                data.get("oracle") is not None,
            )
            self.mistakes += check_tool_sets(self.document, data["tool_sets"], offer)
        self.mistakes += check_roles(
            self.document, self.folder, [placed.spec for placed in self.targets]
        )
        judge = salvage(JudgeSpec, data.get("judge", {}))
        if judge is not None:
            self.mistakes += check_rubric(self.document, self.motives(judge))
            self.mistakes += check_judge(self.document, judge)

    def _resolve_corpus(self, data: Any) -> None:
        spec = None if data is None else salvage(CorpusSpec, data)
        if spec is None:
            return
        self.corpus = absolute(spec.path, self.folder)
        if not is_file(self.corpus):
            what = f"there is no file {shorten(spec.path)} (looked for {self.corpus})"
            self._report(("corpus", "path"), f"{what}; check the path")
        else:
            self.mistakes += check_corpus(self.corpus)

    def _resolve_readers(self) -> None:
        self.readers = open_readers(self.document, self.folder)
        targets = [placed.spec for placed in self.targets]
        self.probe = open_probe(self.document, self.folder, targets)
        self.sae = open_sae(self.document, self.folder, targets)
        self.oracle = open_oracle(self.document, self.folder, targets)
        for opened in (self.readers, self.probe, self.sae, self.oracle):
            self.mistakes += opened.mistakes
        self.mistakes += check_fit(self.document, self.readers.readers, targets)
        written = self.document.data.get("tool_sets")
        if isinstance(written, dict):
            self.mistakes += check_placebos(self.document, written, targets)

    def _resolve_entry(self, loc: Loc, data: Any) -> None:
        if isinstance(data, dict) and "suite" in data:
            reference = salvage(SuiteRef, data)
            if reference is not None:
                self._resolve_reference(loc, reference)
            return
        spec = salvage(TargetSpec, data)
        if spec is None:
            self._inspect_parts(loc, data)
            return
        self.mistakes += check_truth(self.document, loc, spec.truth)
        model = self._model(spec.model, (*loc, "model"))
        baseline = self._baseline
        if spec.baseline is not None:
            baseline = self._model(spec.baseline, (*loc, "baseline"))
        if data.get("baseline") is None:
            self._bare.append(spec.id)
        resolved = spec.model_copy(update={"model": model, "baseline": baseline})
        self.targets.append(Placed(resolved, self.document, loc))

    def _inspect_parts(self, loc: Loc, data: Any) -> None:
        """Check what is there of a target that lacks a key."""
        for field in ("model", "baseline"):
            there = isinstance(data, dict) and field in data
            part = salvage(model_class(data[field]), data[field]) if there else None
            if part is not None:
                self._model(part, (*loc, field))
        truth = (
            salvage(Truth, data["truth"]) if isinstance(data, dict) and "truth" in data else None
        )
        if truth is not None:
            self.mistakes += check_truth(self.document, loc, truth)

    def _model(self, model: AnyModel, loc: Loc) -> AnyModel:
        """Make a model's paths absolute and inspect its files, reporting at its lines."""
        if isinstance(model, ServedModel):
            served = locate_served(model, self.folder)
            mistake = served_mistake(served)
            if mistake is not None:
                self._report((*loc, mistake[0]), mistake[1])
            return served
        located = locate(model, self.folder)
        for field, problem in located.problems:
            self._report((*loc, field), problem)
        if not located.problems:
            for problem in self._preflight(located.model):
                self._report(loc, problem, key=isinstance(loc[-1], str))
        return located.model

    def _preflight(self, model: Model) -> list[str]:
        from auditor.target.preflight import preflight_model

        if model not in self._preflighted:
            self._preflighted[model] = preflight_model(model)
        return self._preflighted[model]

    def _resolve_reference(self, loc: Loc, reference: SuiteRef) -> None:
        path = self.shelf.path(reference.suite)
        if not is_file(path):
            what = f"there is no suite file {shorten(reference.suite)} (looked for {path})"
            self._report((*loc, "suite"), f"{what}; check the path")
            return
        opened = self.shelf.open(reference.suite)
        if opened is None:
            return
        self._suites.append(opened)
        selection = select(opened.suite.targets, reference)
        indices = sound_indices(self.document.value(loc), "select") or [0]
        for index, problem in selection.problems:
            self._report((*loc, "select", indices[index]), problem)
        problems: dict[str, list[str]] = {}
        for spec in selection.targets:
            resolved = self._suite_target(spec, opened, problems)
            self.targets.append(Placed(resolved, self.document, (*loc, "suite")))
        for problem, ids in problems.items():
            more = f" (and {len(ids) - 1} more targets)" if len(ids) > 1 else ""
            self._report((*loc, "suite"), f"target {ids[0]!r}{more}: {problem}")

    def _suite_target(
        self, spec: TargetSpec, opened: OpenedSuite, problems: dict[str, list[str]]
    ) -> TargetSpec:
        own, found = spec.baseline or opened.suite.baseline, []
        models: list[AnyModel] = []
        for model in (spec.model, own):
            if isinstance(model, ServedModel):
                models.append(served := locate_served(model, opened.folder))
                mistake = served_mistake(served)
                found += [] if mistake is None else [mistake[1]]
            elif model is not None:
                located = locate(model, opened.folder)
                models.append(located.model)
                found += [what for _, what in located.problems] or self._preflight(located.model)
        for problem in dict.fromkeys(found):
            problems.setdefault(problem, []).append(spec.id)
        baseline = self._baseline if own is None else models[-1]
        if own is None:
            self._bare.append(spec.id)
        return spec.model_copy(update={"model": models[0], "baseline": baseline})

    def _report(self, loc: Loc, what: str, *, key: bool = False) -> None:
        self.mistakes.append(self.document.mistake(loc, what, key=key))

    def motives(self, judge: JudgeSpec) -> dict[str, tuple[str, ...]]:
        """Merge the wordings of all suites and the judge; a motive always names itself."""
        merged: dict[str, tuple[str, ...]] = {}
        for source in [*(opened.suite.motives for opened in self._suites), judge.motives]:
            for motive, wordings in source.items():
                merged[motive] = tuple(dict.fromkeys((*merged.get(motive, ()), *wordings)))
        for placed in self.targets:
            if placed.spec.truth.motive:
                merged.setdefault(placed.spec.truth.motive, ())
        return {motive: wordings or (motive,) for motive, wordings in merged.items()}

    def descriptions(self, judge: JudgeSpec) -> dict[str, str]:
        """Merge the descriptions of all suites and the judge; the scenario's own come first."""
        merged: dict[str, str] = {}
        for opened in self._suites:
            merged |= opened.suite.descriptions
        return merged | judge.descriptions

    def ceiling(self) -> Ceiling | None:
        """The ceiling of the suites, unknown when they differ."""
        ceilings = {opened.suite.ceiling for opened in self._suites}
        return ceilings.pop() if len(ceilings) == 1 else None
