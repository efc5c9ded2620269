"""A reader, a writer and a policy of one's own, one file and one yaml each, through the CLI."""

import json
import re
import shlex
from pathlib import Path

import pytest

from distillkit.compose import compose
from distillkit.core.spec import ORIGINS, SPECS, discover

from .conftest import CommandLine

READER = '''
import torch

from distillkit.core.spec import spec
from distillkit.opinions.base import OnlyReads, Reader
from distillkit.opinions.sparse import SparseOpinion
from distillkit.supports.base import Sparse
from distillkit.supports.top_k import TeacherTopK


@spec("teacher/table")
class Table(OnlyReads):
    """What follows a token is read from a table of bigrams."""

    k: int = 4
    seed: int = 0

    def gives(self):
        return [TeacherTopK(k=self.k)]

    def tells_drawn(self):
        return False

    def open(self, student, asked):
        return Bigrams(self, student)


class Bigrams(Reader):
    context = 1 << 20

    def __init__(self, settings, student):
        self.student = student
        vocabulary = student.head.vocabulary
        generator = torch.Generator().manual_seed(settings.seed)
        logits = 4 * torch.randn(vocabulary, vocabulary, generator=generator)
        likeliest = logits.log_softmax(-1).topk(settings.k)
        self.log_probs, self.ids = likeliest

    def prompt_length(self, example):
        return self.student.prompt_length(example)

    def read(self, rollouts):
        before = []
        for rollout in rollouts:
            prompt = self.student.prompts.prompt_ids(rollout.example)
            before += [prompt[-1], *rollout.response.tokens[:-1]]
        log_probs = self.log_probs[before]
        rest = (1 - log_probs.exp().sum(-1)).log()
        return SparseOpinion(Sparse(self.ids[before], log_probs, rest))
'''
WRITER = '''
from itertools import cycle

from distillkit.core.spec import spec
from distillkit.core.types import Author, Response
from distillkit.writers.base import WriterSettings


@spec("writer/listed")
class Listed(WriterSettings):
    """The next text of a list, whatever is asked."""

    texts: list[str]

    def tells_drawn(self):
        return False

    def open(self, student):
        return FromList(self.texts, student)


class FromList:
    def __init__(self, texts, student):
        self.texts, self.student, self.versions = cycle(texts), student, []

    def write(self, examples, sampling, *, seed, poll=lambda: None):
        poll()
        ids = [self.student.prompts.text_ids(next(self.texts)) for _ in examples]
        return [Response((*each, self.student.end_id), False, Author.student) for each in ids]

    def follow(self, student, *, version):
        self.versions.append(version)
'''
POLICY = '''
from distillkit.core.spec import spec
from distillkit.core.types import Author
from distillkit.policies.base import Policy


@spec("policy/in_turns")
class InTurns(Policy):
    """The dataset and the student, one row each."""

    def authors(self, step, count, *, steps, seed):
        return [Author.student if row % 2 else Author.dataset for row in range(count)]

    def may_write(self):
        return frozenset({Author.dataset, Author.student})
'''
PAGE = Path(__file__).parents[1] / "CONTRIBUTING.md"
YAML = "defaults: [/schema/{group}/{name}@_here_, _self_]\n{more}"


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    """The three files and their yaml, as they are typed."""
    own, typed = tmp_path / "own", []
    parts = {
        "teacher/table": (READER, "k: 6\n"),
        "writer/listed": (WRITER, "texts: ['3 + 4 = 7 #### 7', '#### 12']\n"),
        "policy/in_turns": (POLICY, ""),
    }
    for place, (source, more) in parts.items():
        group, name = place.split("/")
        file = own / f"{place}.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(YAML.format(group=group, name=name, more=more))
        (tmp_path / f"{name}.py").write_text(source)
        typed += ["--plugin", str(tmp_path / f"{name}.py")]
    return [*typed, "--config-dir", str(own)]


@pytest.fixture(autouse=True)
def _forget() -> object:
    before = dict(discover())
    yield
    SPECS.clear()
    SPECS.update(before)
    ORIGINS.clear()


THREE = ["teacher=table", "writer=listed", "policy=in_turns", "support=teacher_top_k"]
SHORT = ["debug=smoke", "tracker=none", "evaluation.test=8", "steps=6", "loop.batch_size=4"]


def test_a_reader_a_writer_and_a_policy_of_ones_own_train(
    given: list[str], tmp_path: Path, distillkit: CommandLine
) -> None:
    typed = [*THREE, "support.k=6", *SHORT, f"output={tmp_path}", "name=three"]
    result = distillkit("train", *given, *typed)
    assert result.code == 0, result.err
    folder = tmp_path / "train" / "three"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    updates = [row for row in rows if "loss" in row]
    assert len(updates) == 6
    assert {row["student_share"] for row in updates} == {0.5}
    assert updates[-1]["loss"] < updates[0]["loss"]
    assert json.loads((folder / "summary.json").read_text())["teacher"] == {}
    measured = distillkit("eval", *given, f"run={folder}", "metric=accuracy", "limit=4")
    assert measured.code == 0, measured.err
    refused = distillkit("eval", *given, f"run={folder}", "metric=agreement", "limit=4")
    assert refused.code == 2
    assert "this run has none that is a model" in refused.err


def test_what_is_trained_with_is_in_the_fingerprint(given: list[str]) -> None:
    plugins, own = given[1:6:2], Path(given[-1])
    found = {
        compose("train", typed, plugins=plugins, config_dir=own).fingerprint
        for typed in ([], ["writer=listed", "policy=on_policy"], ["policy=on_policy"])
    }
    assert len(found) == 3


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["support=full"], "support=full compares more entries than teacher=table tells"),
        (["support.k=7"], "support=teacher_top_k support.k=7 compares more entries than"),
        (["support.k=6", "objective.teacher_temperature=2"], "teacher_temperature=2.0 divides"),
        (["policy=seq_kd", "writer=local", "support.k=6"], "teacher=table only reads"),
        (["policy=off_policy", "support.k=6"], "writer=listed has no effect with policy="),
        (
            ["objective=sampled_kl", "policy=on_policy", "writer=local"],
            "teacher=table does not say",
        ),
        (
            ["objective=sampled_kl", "policy=on_policy", "teacher=embedded"],
            "writer=listed does not say",
        ),
    ],
)
def test_what_does_not_fit_is_one_sentence_before_anything_is_loaded(
    typed: list[str], words: str, given: list[str], tmp_path: Path, distillkit: CommandLine
) -> None:
    groups = {each.split("=")[0] for each in typed}
    three = [each for each in THREE if each.split("=")[0] not in groups]
    if "objective=sampled_kl" in typed:
        three.remove("support=teacher_top_k")
    result = distillkit("train", *given, *three, *typed, *SHORT, f"output={tmp_path}")
    assert result.code == 2
    assert words in result.err
    assert result.err.count("\n") == 1
    assert not (tmp_path / "train").exists()


def test_a_policy_that_mixes_without_a_share_is_refused(
    given: list[str], tmp_path: Path, distillkit: CommandLine
) -> None:
    source = POLICY.replace("Author.student", "Author.mixture")
    (tmp_path / "in_turns.py").write_text(source)
    result = distillkit("train", *given, "policy=in_turns", *SHORT, f"output={tmp_path}")
    assert result.code == 2
    assert "policy=in_turns has both models write every token and says no share" in result.err


def test_an_estimate_of_a_policy_gradient_needs_a_model(
    given: list[str], tmp_path: Path, distillkit: CommandLine
) -> None:
    source = READER.replace("return [TeacherTopK(k=self.k)]", "return [Full()]")
    source = source.replace("return False", "return True")
    source = source.replace(
        "import torch\n", "import torch\nfrom distillkit.supports.full import Full\n"
    )
    (tmp_path / "table.py").write_text(source)
    typed = ["teacher=table", "objective=sampled_kl", "policy=on_policy"]
    result = distillkit("estimate", *given, *typed)
    assert result.code == 2
    assert "teacher=table writes nothing, and one of the estimators learns" in result.err


def test_verbs_that_look_at_models_say_so(given: list[str], distillkit: CommandLine) -> None:
    result = distillkit("doctor", *given, *THREE, "support.k=6")
    assert result.code == 2
    assert "teacher=table leaves the doctor nothing to compare" in result.err
    result = distillkit("estimate", *given, "teacher=table", "support=teacher_top_k", "support.k=6")
    assert result.code == 2
    assert "teacher=table tells a few entries" in result.err
    result = distillkit("undo-iterate", *given, "teacher=table")
    assert result.code == 2
    assert "teacher=table only reads, and undo-iterate has its teacher write" in result.err


def test_the_example_of_contributing_trains_as_it_says(
    tmp_path: Path, distillkit: CommandLine
) -> None:
    """Each of its blocks begins with the name of its file; the command is typed as it stands."""
    page = PAGE.read_text(encoding="utf-8")
    for block in re.findall(r"^```(?:python|yaml)\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        file = tmp_path / block.split("\n")[0].removeprefix("# ")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block)
    (typed,) = re.findall(r"^distillkit (train .*)$", page.replace("\\\n", ""), re.MULTILINE)
    result = distillkit(*shlex.split(typed))
    assert result.code == 0, result.err
    journal = (tmp_path / "outputs" / "train" / "warm" / "metrics.jsonl").read_text()
    shares = [
        row["student_share"] for row in map(json.loads, journal.splitlines()) if "loss" in row
    ]
    assert shares == [0, 1]
    result = distillkit(*shlex.split(typed), "policy.updates=-1")
    assert result.code == 2
    assert result.err == "distillkit: policy.updates must be 0 or more, got -1.\n"
