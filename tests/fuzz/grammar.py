"""Commands out of the fields' own grammar: right ones, near misses, and junk."""

import dataclasses
import random
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from typing import Any, get_args, get_type_hints

from distillkit.compose import compose, conf_folder
from distillkit.core.spec import SPECS

BOUNDED = ("tracker=none", "debug=smoke", "evaluation.test=4")
"""Ends a training within seconds, whatever else is asked for."""

ODD = (
    *("", "null", "nan", "inf", "-inf", "0", "-1", "1", "2", "0.5", "1e400", "-1e-400", "1e-8"),
    *("9223372036854775807", "9" * 30, "true", "false", "None", "~", "1_000", "0x10", "007", "1."),
    *("[]", "[1,2]", "[null]", "[[[]]]", "{}", "{a:1}", "[a,{b:[c]}]", "a,b", "1,2", "x" * 300),
    *('""', "''", '"quoted"', '"', "'", "\\", "a\\,b", "lr=1e-3", '"lr=1e-3"', "a:b", "@x", "a b"),
    *(
        "[/x]",
        "[red]",
        "[bold]x[/bold]",
        ":smile:",
        "ü",
        "日本",
        "🙂",
        "\t",
        "\n",
        "\u202e",
        "\ud7ff",
    ),
    *("${seed}", "${nope}", "${nope:}", "${oc.env:HOME}", "${oc.env:OPENAI_API_KEY}", "${", "$x"),
    *("${oc.select:nope,3}", "${oc.create:{a:1}}", "${oc.decode:'[1,2]'}", "${hydra:job.name}"),
    *("${now:%Y}", "${or:null,3}", "${pick:a,{a:1}}", "${oc.env:nope,3}", "${.}", "${..seed}"),
    *("../x", "/", ".", "..", "/dev/null", "/dev/full", "~/x", "no/such", "file://x", "pkg://os"),
    *("cuda", "cuda:99", "cpu", "meta", "yes", "off", "_target_", "__class__", "%s", "{0}", "`id`"),
    *("glob(*)", "range(1,3)", "choice(1,2)", "interval(0,1)", "sort(2,1)", "int(1.5)", "str(1)"),
)
"""Values that some field takes and most refuse."""

JUNK = (
    *("", " ", "=", "==", "a", "=1", "a=", "+", "++", "~", "+a=1", "++a=1", "~a", "~seed", "a.b=1"),
    *("a[0]=1", "a@b=c", "@=1", "a@=1", "[1]=2", "{}=1", "a b=1", "ä=1", "seed==1", "seed=1=2"),
    *("seed=1 steps=2", "-x", "--", "--nope", "--help=1", "-", "seed:1", "seed = 1", "SEED=1"),
    *("defaults=[]", "_target_=os.system", "+_target_=os.system", "divergence._target_=os.system"),
    *("schema/divergence=jsd", "/divergence=jsd", "divergence@x=jsd", "divergence/jsd=1"),
    *("hydra=1", "hydra.nope=1", "hydra.run.dir=x", "hydra.verbose=true", "hydra/launcher=nope"),
    *("hydra.searchpath=[x]", "hydra.searchpath=1", "hydra.job.chdir=true", "hydra.mode=MULTIRUN"),
    *("hydra/job_logging=none", "hydra.callbacks.a._target_=os.system", "hydra.job.name=x"),
    *("hydra.output_subdir=x", "hydra/sweeper=nope", "~hydra", "hydra/help=x", "hydra.sweep.dir=x"),
    *("experiment=[gkd,sft]", "experiment=gkd", "debug=[1,2]", "debug=null", "objective=[null]"),
    *("seed=1", "seed=2", "+experiment=gkd", "~experiment", "~divergence", "~teacher", "~student"),
    *("teacher=null", "~dataset", "dataset=null", "metric=[]", "metric=null", "metric=[all,nope]"),
    *("--config-dir", "--config-dir=nope", "--config-dir=/dev/null", "--config-dir=", "--verb=x"),
    *("--plugin=nope", "--plugin=/dev/null", "--plugin=", "--multirun", "-m", "--k=0", "--k=a"),
    *(
        "--repeats=0",
        "--repeats=x",
        "--draws=",
        "--draws=1,-1",
        "--split=x",
        "--output=/dev/null/x",
    ),
)
"""Words that stand where an override should."""

ROOTS = {"train": [], "undo": [], "eval": ["run=outputs/train/run"]}
"""Configurations, with what each cannot be composed without."""


class Grammar:
    """Draws command lines.

    Args:
        draw: where chance comes from.
    """

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw

    def show(self) -> list[str]:
        """``show`` of any verb's configuration: composed, and nothing else."""
        verb = self._draw.choice(["train", "train", "undo", "eval"])
        asked = [] if verb == "train" else ["--verb", verb]
        return ["show", *asked, *ROOTS[verb], *self.overrides(verb)]

    def work(self, verb: str) -> list[str]:
        """A verb that trains, or reads models, on what is over in seconds."""
        return [verb, *BOUNDED, *self.overrides("train", most=2)]

    def undo(self) -> list[str]:
        """``undo-iterate`` with what was drawn behind what bounds it."""
        bounds = [*BOUNDED, "iterations=1", "elsewhere.test=4", "rollout.max_new_tokens=16"]
        return ["undo-iterate", *bounds, *self.overrides("undo", most=2)]

    def sweep(self) -> list[str]:
        """A grid of at most four cells."""
        grid = self._draw.choice(["seed=0,1", "divergence=jsd,tvd", "divergence=jsd,nope", "seed="])
        return ["sweep", *BOUNDED, grid, *self.overrides("train", most=2)]

    def measure(self, run: str) -> list[str]:
        """``eval`` of a run that is there, or is not."""
        where = self._draw.choice([run, run, run, *ODD])
        return ["eval", f"run={where}", "limit=4", *self.overrides("eval", most=2)]

    def report(self, run: str) -> list[str]:
        """``report`` of what may be a run."""
        paths = [self._draw.choice([run, run, *ODD]) for _ in range(self._draw.randint(0, 3))]
        options = ("--split", "--baseline", "--output")
        option = [self._draw.choice(options), self._draw.choice([run, "page", "test", *ODD])]
        return ["report", *paths, *(option if self._draw.random() < 0.5 else [])]

    def study(self) -> list[str]:
        """``study fidelity`` without its tables."""
        options = ("--results", "--tau", "--selection", "--output")
        typed = [(self._draw.choice(options), self._draw.choice(ODD)) for _ in range(3)]
        return [
            "study",
            "fidelity",
            "--results",
            "no/such",
            *(word for pair in typed for word in pair),
        ]

    def overrides(self, root: str, *, most: int = 4) -> list[str]:
        """Some overrides of a configuration, each drawn in one of five ways."""
        ways = (self._option, self._field, self._field, self._odd_field, self._junk)
        count = self._draw.randint(0, most)
        return [self._draw.choice(ways)(root) for _ in range(count)]

    def _option(self, root: str) -> str:
        group = self._draw.choice(sorted(options()))
        choice = self._draw.choice([*options()[group], self._draw.choice(ODD)])
        return f"{group}={choice}"

    def _field(self, root: str) -> str:
        name, kind = self._draw.choice(fields(root))
        return f"{name}={self._draw.choice(values(kind))}"

    def _odd_field(self, root: str) -> str:
        sign = self._draw.choice(["", "", "", "+", "++"])
        return f"{sign}{self._draw.choice(fields(root))[0]}={self._draw.choice(ODD)}"

    def _junk(self, root: str) -> str:
        return self._draw.choice(JUNK)


@cache
def options() -> dict[str, list[str]]:
    """Committed options by group."""
    found: dict[str, list[str]] = {}
    for file in sorted(conf_folder().glob("*/*.yaml")):
        found.setdefault(file.parent.name, []).append(file.stem)
    return found


@cache
def fields(root: str) -> list[tuple[str, Any]]:
    """Dotted names and types of all fields of a configuration and of every option's class."""
    run = compose(root, ROOTS[root]).run
    found = dict(_inside(run, ""))
    for path, cls in SPECS.items():
        group, _, _ = path.rpartition("/")
        if group and hasattr(run, group):
            hints = get_type_hints(cls)
            found |= {f"{group}.{each.name}": hints[each.name] for each in dataclasses.fields(cls)}
    return sorted(found.items(), key=lambda item: item[0])


def _inside(component: Any, prefix: str) -> Sequence[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    hints = get_type_hints(type(component))
    for each in dataclasses.fields(component):
        value = getattr(component, each.name)
        if dataclasses.is_dataclass(value):
            found += _inside(value, f"{prefix}{each.name}.")
        else:
            found.append((f"{prefix}{each.name}", hints[each.name]))
    return found


def values(kind: Any) -> Sequence[str]:
    """Values that a field of a type may well take."""
    kinds = [each for each in get_args(kind) if each is not type(None)] or [kind]
    found = ["null"] if type(None) in get_args(kind) else []
    for each in kinds:
        if isinstance(each, type) and issubclass(each, StrEnum):
            found += list(each)
        elif each is bool:
            found += ["true", "false"]
        elif each is int:
            found += ["0", "1", "2", "3", "8"]
        elif each is float:
            found += ["0", "0.1", "0.5", "0.9", "1", "1e-4"]
        else:
            found += ["x", "name", "a/b", "[]", "{}"]
    return found
