"""Files of strangers that would run code, hang, or read secrets, if they were let.

Each case leaves a mark where its code runs. :data:`CONTROLS` are the same routes opened on purpose,
to see that the mark can be left.
"""

import json
import os
import pickle
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from distillkit.models.loading import EMBEDDED

from .commands import KEYS, OFFLINE, faults
from .forks import Call, Ended, run

MARK = "FUZZ_MARK"
CODE = f"import os\nopen(os.environ['{MARK}'], 'w').close()\n"
SMOKE = ("tracker=none", "debug=smoke", "evaluation.test=4", "name=run")
EVIL = ("--config-dir", "evil", "experiment=evil")
MODEL = ("student.name=model", "teacher.name=model")
CHAT = ("student.prompt=chat", "teacher.prompt=chat")


@dataclass(frozen=True, slots=True)
class Case:
    """Something that a stranger might hand over.

    Attributes:
        name: what it tries.
        make: writes it into the current folder of the attack.
        command: what the user types there.
    """

    name: str
    make: Callable[[Path], Any]
    command: Sequence[str]


def attack(case: Case, place: Path) -> tuple[bool, list[str], Ended]:
    """Whether the stranger's code ran, what else is wrong, and what the command left."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    (place / "evil.py").write_text(CODE)
    case.make(place)
    mark = place.parent / f"{place.name}.mark"
    mark.unlink(missing_ok=True)
    environment = {**KEYS, **OFFLINE, MARK: str(mark)}
    ended = run(Call(case.command, folder=place, environment=environment, seconds=90))
    found = [*faults(ended), *(["hangs"] if ended.late else []), *_leaked(place)]
    return mark.exists(), found, ended


def _leaked(place: Path) -> list[str]:
    files = [path for path in place.rglob("*") if path.is_file()]
    return [
        f"{name} in {path.relative_to(place)}"
        for path in files
        for name, value in KEYS.items()
        if value.encode() in path.read_bytes() or value in str(path)
    ]


def _yaml(values: Any, name: str = "experiment/evil.yaml") -> Callable[[Path], None]:
    def make(place: Path) -> None:
        file = place / "evil" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        text = values if isinstance(values, str) else yaml.safe_dump(values)
        file.write_text(f"# @package _global_\n{text}")
        (place / "sites").mkdir(exist_ok=True)
        (place / "sites" / "evil.pth").write_text(f"import os; {CODE.splitlines()[1]}\n")

    return make


def _hydra(values: Any) -> Callable[[Path], None]:
    return _yaml({"hydra": values})


TARGETS = (
    {"_target_": "site.addsitedir", "sitedir": "sites"},
    {"_target_": "runpy.run_path", "path_name": "evil.py"},
    {"_target_": "builtins.exec", "_args_": [CODE]},
    {"_target_": "os.system", "_args_": [f"touch ${MARK}"]},
    {"_target_": "subprocess.call", "args": f"touch ${MARK}", "shell": True},
)
LOGGING = {"version": 1, "root": {"handlers": ["a"]}}


def _model(**changes: Any) -> Callable[[Path], None]:
    """``model/``: the embedded student with changed files; a dict is laid over the JSON there."""

    def make(place: Path) -> None:
        shutil.copytree(EMBEDDED / "student", place / "model")
        (place / "model" / "evil.py").write_text(CODE)
        for stem, change in changes.items():
            name = {"template": "chat_template.jinja"}.get(stem, f"{stem}.json")
            file = place / "model" / name
            if isinstance(change, str):
                file.write_text(change)
            else:
                old = json.loads(file.read_text()) if file.is_file() else {}
                file.write_text(json.dumps(old | change))

    return make


AUTO = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
OWN_CODE = _model(config={"auto_map": AUTO, "model_type": "evil"})
OWN_TOKENIZER = _model(
    tokenizer_config={
        "auto_map": {"AutoTokenizer": ["evil.Slow", "evil.Fast"]},
        "tokenizer_class": "X",
    }
)


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (CODE,)


def _pickled(place: Path) -> None:
    _model()(place)
    (place / "model" / "model.safetensors").unlink()
    (place / "model" / "pytorch_model.bin").write_bytes(pickle.dumps(_Evil()))


def _index_to_pickle(place: Path) -> None:
    _pickled(place)
    index = {"metadata": {}, "weight_map": {"model.norm.weight": "pytorch_model.bin"}}
    (place / "model" / "model.safetensors.index.json").write_text(json.dumps(index))


def _generates_its_own_way(place: Path) -> None:
    _model()(place)
    (place / "model" / "custom_generate").mkdir()
    (place / "model" / "custom_generate" / "generate.py").write_text(CODE)


def _adapter(place: Path) -> None:
    OWN_CODE(place)
    adapter = {
        "base_model_name_or_path": "model",
        "peft_type": "LORA",
        "auto_mapping": {"x": "evil"},
    }
    (place / "model" / "adapter_config.json").write_text(json.dumps(adapter))


def _dataset_script(place: Path) -> None:
    (place / "rows").mkdir()
    (place / "rows" / "rows.py").write_text(CODE)


def _pickled_rows(place: Path) -> None:
    (place / "rows.pkl").write_bytes(pickle.dumps(_Evil()))


def _rows_of_templates(place: Path) -> None:
    text = "{{ cycler.__init__.__globals__.os.system('touch $FUZZ_MARK') }}"
    rows = [{"prompt": text, "response": text} for _ in range(6)]
    (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _shadows(place: Path) -> None:
    for name in ("torch.py", "yaml.py", "sitecustomize.py", "usercustomize.py", "hydra.py"):
        (place / name).write_text(CODE)
    (place / "distillkit").mkdir()
    (place / "distillkit" / "__init__.py").write_text(CODE)


def _run(change: Callable[[Path], Any], *, command: Sequence[str] = ("train", *SMOKE)) -> Any:
    """A run directory that a stranger hands over, changed after it was made."""

    def make(place: Path) -> None:
        environment = {**OFFLINE, MARK: os.devnull}
        assert run(Call(command, folder=place, environment=environment)).code == 0
        change(place / "outputs/train/run")

    return make


def _edit(name: str, edit: Callable[[Any], Any]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / name
        file.write_text(yaml.safe_dump(edit(yaml.safe_load(file.read_text())), sort_keys=False))

    return change


def _trusted(values: dict[str, Any]) -> dict[str, Any]:
    for side in ("student", "teacher"):
        values[side] |= {"trust_remote_code": True, "name": "model"}
    return values


def _with_evil_student(folder: Path) -> None:
    _edit("run.yaml", _trusted)(folder)
    OWN_CODE(folder.parents[2])
    for name in ("config.json", "evil.py"):
        shutil.copy(folder.parents[2] / "model" / name, folder / "student" / name)


def _with_evil_teacher(folder: Path) -> None:
    _edit("run.yaml", _trusted)(folder)
    OWN_CODE(folder.parents[2])


def _with_evil_checkpoint(folder: Path) -> None:
    (folder / "summary.json").unlink()
    (newest,) = (folder / "checkpoints").iterdir()
    torch.save(_Evil(), newest / "optimizer.pt")
    progress = json.loads((newest / "progress.json").read_text())
    progress["files"] = {}
    (newest / "progress.json").write_text(json.dumps(progress))


TEMPLATES = {
    "globals": "{{ cycler.__init__.__globals__.os.system('touch $FUZZ_MARK') }}",
    "classes": "{{ ''.__class__.__mro__[1].__subclasses__()[0].__init__.__globals__ }}",
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "a long text": "{{ 'a' * 3000000000 }}",
    "a power": "{{ 9 ** (9 ** 9) }}",
    "a recursion": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "a wide number": "{{ '%9999999999d' | format(1) }}",
    "doubling": "{% set n = namespace(x='aaaaaaaaaa') %}{% for i in range(60) %}"
    "{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
    "an attribute": "{{ '{0.__class__.__init__.__globals__}'.format(raise_exception) }}",
    "an import": "{% import 'evil.py' as x %}",
}

TRAIN = ("train", *SMOKE)
TRUSTED = ("teacher.trust_remote_code=true", "student.trust_remote_code=true")
CASES: tuple[Case, ...] = (
    *(
        Case(
            f"callback {target['_target_']} under {verb}",
            _hydra({"callbacks": {"x": target}}),
            (verb, *more, *EVIL),
        )
        for target in TARGETS
        for verb, more in (("sweep", (*SMOKE[:3], "seed=0,1")), ("train", SMOKE))
    ),
    *(
        Case(
            f"{part} {target['_target_']}",
            _hydra({part: target}),
            ("sweep", *SMOKE[:3], "seed=0,1", *EVIL),
        )
        for part in ("launcher", "sweeper")
        for target in TARGETS[1:3]
    ),
    Case(
        "a launcher of its own",
        _yaml(yaml.safe_dump({"hydra": {"launcher": TARGETS[1]}}), "hydra/launcher/evil.yaml"),
        ("sweep", *SMOKE[:3], "seed=0,1", "--config-dir", "evil", "hydra/launcher=evil"),
    ),
    Case(
        "callbacks of its own",
        _yaml(
            yaml.safe_dump({"hydra": {"callbacks": {"x": TARGETS[1]}}}), "hydra/callbacks/evil.yaml"
        ),
        ("sweep", *SMOKE[:3], "seed=0,1", "--config-dir", "evil", "hydra/callbacks=evil"),
    ),
    *(
        Case(
            f"logging by a factory, {part}",
            _hydra(
                {
                    part: LOGGING
                    | {"handlers": {"a": {"()": "runpy.run_path", "path_name": "evil.py"}}}
                }
            ),
            ("sweep", *SMOKE[:3], "seed=0,1", *EVIL),
        )
        for part in ("job_logging", "hydra_logging")
    ),
    Case(
        "environment of the cells",
        _hydra({"job": {"env_set": {"PYTHONPATH": ".", "PYTHONSTARTUP": "evil.py"}}}),
        ("sweep", *SMOKE[:3], "seed=0,1", *EVIL),
    ),
    Case(
        "a yaml of objects",
        _yaml(f"x: !!python/object/apply:os.system ['touch ${MARK}']\n"),
        (*TRAIN, *EVIL),
    ),
    Case("a component by target", _yaml({"divergence": TARGETS[1]}), (*TRAIN, *EVIL)),
    *(
        Case(f"a key in {field}", _yaml({field: value}), (*TRAIN[:-1], *EVIL))
        for field, value in (
            ("name", "${oc.env:OPENAI_API_KEY}"),
            ("output", "out-${oc.env:HF_TOKEN}"),
            ("device", "${oc.env:OPENAI_API_KEY}"),
            ("steps", "${oc.env:WANDB_API_KEY}"),
            ("tracker", {"tags": ["${oc.env:OPENAI_API_KEY}"]}),
            ("student", {"name": "${oc.decode:${oc.env:HF_TOKEN}}"}),
            ("dataset", {"seed": "${or:null,${oc.env:OPENAI_API_KEY}}"}),
        )
    ),
    Case(
        "trust in a yaml",
        lambda place: (OWN_CODE(place), _yaml({"student": {"trust_remote_code": True}})(place)),
        (*TRAIN, *MODEL, *EVIL),
    ),
    Case(
        "trust in a yaml, teacher",
        lambda place: (
            OWN_CODE(place),
            _yaml({"teacher": {"trust_remote_code": True, "name": "model"}})(place),
        ),
        (*TRAIN, *EVIL),
    ),
    Case("a model's own code", OWN_CODE, (*TRAIN, *MODEL)),
    Case("a model's own code, doctor", OWN_CODE, ("doctor", *SMOKE, *MODEL)),
    Case("a tokenizer's own code", OWN_TOKENIZER, (*TRAIN, *MODEL)),
    Case("pickled weights", _pickled, (*TRAIN, *MODEL)),
    Case("an index to pickled weights", _index_to_pickle, (*TRAIN, *MODEL)),
    Case("a way to generate of its own", _generates_its_own_way, (*TRAIN, *MODEL)),
    Case("an adapter beside it", _adapter, (*TRAIN, *MODEL)),
    Case(
        "attention from the hub",
        _model(config={"_attn_implementation": "evil/kernel"}),
        (*TRAIN, *MODEL),
    ),
    Case(
        "a tokenizer class by path",
        _model(tokenizer_config={"tokenizer_class": "evil.Slow"}),
        (*TRAIN, *MODEL),
    ),
    *(
        Case(f"a chat template with {name}", _model(template=text), (*TRAIN, *MODEL, *CHAT))
        for name, text in TEMPLATES.items()
    ),
    *(
        Case(
            f"an undo prompt with {name}",
            _yaml({"prompt": {"write": "{{ question }}" + text}}),
            ("show", "--verb", "undo", *EVIL),
        )
        for name, text in TEMPLATES.items()
    ),
    Case("a dataset's script", _dataset_script, (*TRAIN, "dataset=jsonl", "dataset.path=rows")),
    Case("pickled rows", _pickled_rows, (*TRAIN, "dataset=jsonl", "dataset.path=rows.pkl")),
    Case(
        "templates in rows",
        _rows_of_templates,
        (*TRAIN, "dataset=jsonl", "dataset.path=rows.jsonl", "dataset.validation_share=2"),
    ),
    Case("modules in the folder", _shadows, ("sweep", *SMOKE[:3], "seed=0,1")),
    Case(
        "a run whose student brings code",
        _run(_with_evil_student),
        ("eval", "run=outputs/train/run"),
    ),
    Case(
        "a run whose teacher brings code",
        _run(_with_evil_teacher),
        ("eval", "run=outputs/train/run"),
    ),
    Case("a run whose teacher brings code, train", _run(_with_evil_teacher), TRAIN),
    Case("a pickled optimiser", _run(_with_evil_checkpoint), TRAIN),
    Case(
        "a callback in a run's overrides",
        _run(_edit("overrides.yaml", lambda old: [*old, "+hydra.callbacks.x._target_=os.system"])),
        ("eval", "run=outputs/train/run"),
    ),
    Case(
        "a key in a run's settings",
        _run(_edit("run.yaml", lambda old: old | {"device": "${oc.env:OPENAI_API_KEY}"})),
        ("eval", "run=outputs/train/run"),
    ),
)

CONTROLS: tuple[Case, ...] = (
    Case("a model's own code, trusted", OWN_CODE, (*TRAIN, *MODEL, *TRUSTED)),
    Case("a tokenizer's own code, trusted", OWN_TOKENIZER, (*TRAIN, *MODEL, *TRUSTED)),
)
