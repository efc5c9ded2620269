"""The page: one HTML file that asks the network for nothing and trusts no text it shows."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from distillkit import __version__
from distillkit.report import examples, wording
from distillkit.report.costs import Costs, costs_of
from distillkit.report.examples import Shown
from distillkit.report.groups import Group, differences, together
from distillkit.report.markdown import NOTE
from distillkit.report.runs import Gathered, Run
from distillkit.report.sections import Section
from distillkit.report.studies import StudyPage
from distillkit.report.style import DARK, LIGHT, SERIES
from distillkit.report.tables import Table
from distillkit.report.views import view

SEEDS_NOTE = (
    "In the pictures of differences the thick line is the bootstrap over examples, the thin one "
    "Student's t over seeds: the first asks about other examples, the second about other seeds. "
    "A single seed is compared with the baseline's run of the same seed."
)


@dataclass(frozen=True, slots=True)
class Answers:
    """Chosen examples of one configuration's first run."""

    group: Group
    run: Run
    counts: str
    examples: tuple[Shown, ...]


def render(
    groups: Sequence[Group],
    table: Table,
    plots: Sequence[Section],
    *,
    gathered: Gathered,
    title: str,
    split: str,
    remedy: str,
) -> str:
    """The whole page as HTML."""
    template = files("distillkit.report") / "template"
    style = (template / "report.css").read_text(encoding="utf-8")
    script = (template / "report.js").read_text(encoding="utf-8")
    studies, runs = gathered.studies, [run for group in groups for run in group.runs]
    beyond = len(table.columns) > len(table.leading)
    missing = [*gathered.notes, *(item for run in runs for item in run.missing)]
    seeded, cost = any(group.seeded for group in groups), costs_of(groups)
    context = {
        "title": title,
        "summary": wording.summary(groups, split) if groups else "",
        "warnings": wording.warnings(groups),
        "groups": groups,
        "runs": runs,
        "tones": {group.key: SERIES[at % len(SERIES)] for at, group in enumerate(groups)},
        "main": view(table, table.leading),
        "everything": view(table, range(len(table.columns))) if beyond else None,
        "reading": f"{NOTE} {SEEDS_NOTE}" if seeded else NOTE,
        "plots": plots,
        "studies": studies,
        "sections": [
            *_of_studies(studies),
            *(_of_runs(plots, cost) if groups else ()),
            *([("missing", "Not here")] if missing else []),
        ],
        "answers": _answers(groups),
        "rule": examples.RULE,
        "remedy": remedy,
        "settings": together(differences(groups)),
        "costs": cost,
        "missing": missing,
        "provenance": _provenance([*studies, *runs]),
        "style": Markup(_variables() + style),
        "script": Markup(script),
        "script_hash": "sha256-" + b64encode(sha256(script.encode()).digest()).decode(),
    }
    return _template().render(context)


def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("distillkit.report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")


def _variables() -> str:
    light, dark = (
        "".join(f"--{role}: {value};" for role, value in palette.items())
        for palette in (LIGHT, DARK)
    )
    return (
        f":root {{{light}}}\n@media screen and (prefers-color-scheme: dark) {{:root {{{dark}}}}}\n"
    )


def _of_studies(studies: Sequence[StudyPage]) -> list[tuple[str, str]]:
    """Anchors and headings; a study that is alone has its name at the top of the page."""
    names = [study.title for study in studies] if len(studies) > 1 else ["What was found"]
    return [(f"study-{at}", names[at]) for at in range(len(studies))]


def _of_runs(plots: Sequence[Section], cost: Costs) -> list[tuple[str, str]]:
    return [
        ("results", "Results"),
        *((section.anchor, section.name) for section in plots),
        ("answers", "Answers"),
        ("settings", "What differs"),
        *([("cost", "Cost")] if cost.rows else []),
    ]


def _answers(groups: Sequence[Group]) -> list[Answers]:
    made = []
    for group in groups:
        run = next((run for run in group.runs if run.evaluation and run.evaluation.items), None)
        if run is None or run.evaluation is None:
            continue
        items = run.evaluation.items
        counts = ", ".join(f"{n} {kind}" for kind, n in examples.count(items).items())
        made.append(Answers(group, run, f"{counts}, of {len(items):,}", examples.choose(items)))
    return made


def _provenance(runs: Sequence[Run | StudyPage]) -> dict[str, str]:
    """Each fact once, with all its values; never the diff of a checkout."""
    facts: dict[str, dict[str, None]] = {}
    for run in runs:
        for name, value in _facts(run.provenance):
            facts.setdefault(name, {})[value] = None
    made = {name: wording.listing(list(values)) for name, values in facts.items()}
    return made | {"report by": f"distillkit {__version__}"}


def _facts(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    versions = {name: provenance.get(name) for name in ("distillkit", "python")}
    versions |= provenance.get("packages") or {}
    commit = (provenance.get("git") or {}).get("commit")
    facts = {
        "machine": provenance.get("machine"),
        "device": provenance.get("device"),
        "commit": commit and commit[:12],
        **versions,
    }
    return [(name, str(value)) for name, value in facts.items() if value]
