"""What is typed: one sentence for whatever cannot be composed, and the line to type."""

import pytest

from distillkit.compose import compose
from distillkit.core.errors import ConfigError

DEEP = "student.template=" + "[" * 3000

REFUSED = [
    ("debug=[1,2]", "debug=[1,2]: a group takes the name of an option", "smoke"),
    ("objective=[null]", "objective=[null]: a group takes the name", "sampled_kl"),
    ("debug=[[smoke]]", "a group takes the name", "smoke"),
    ("divergence=true", "a group takes the name", "jsd"),
    ("divergence=''", "a group takes the name", "jsd"),
    ("student=${teacher}", "a group takes the name", "smollm2"),
    ("teacher=[null]", "a group takes the name", "endpoint"),
    (f"divergence={'x' * 300}", "there is no such option", "jsd"),
    (f"name={'x' * 300}", "name has 300 bytes in one name", "shorter"),
    (f"output=a/{'x' * 300}/b", "output has 300 bytes in one name", "shorter"),
    (f"name={'x' * 30_000}", "longer than 20000 characters", "--config-dir"),
    (DEEP, "cannot be read", "student.template"),
    ("", "'' cannot be read", "field=value"),
    ("=", "Could not override", "distillkit show"),
    ("seed=${seed}", "seed: Recursive interpolation", "distillkit show"),
    ("seed=${oc.create:[1]}", "seed: ", "Integer"),
    ("seed=${oc.dict.keys:student}", "seed: ", "Integer"),
    ("name=${hydra:job.name}", "name: ", "HydraConfig was not set"),
    ("name=${nope:1}", "name: Unsupported interpolation type nope", "distillkit show"),
    ("seed=99999999999999999999", "seed must be a number of at most 64 bits", "9999"),
    ("seed=-9223372036854775809", "seed must be a number of at most 64 bits", "-9223"),
    ("optimizer.lr=1e400", "optimizer.lr must be a finite number, got inf"),
    ("rollout.temperature=nan", "rollout.temperature must be a finite number, got nan"),
    ("objective.teacher_temperature=-inf", "objective.teacher_temperature must be a finite"),
    ("student.template={a:1}", "student.template", "distillkit show"),
    ("experiment=[gkd,kd]", "experiment/gkd", "distillkit show"),
    ("divergence=../policy/mixed", "policy=mixed is of no use here", "Divergence"),
    ("name='a\0b'", "holds a character that no setting may"),
    ('name="\ud800"', "holds a character that no file can", "Remove it"),
    ("hydra.sweep.dir=x", "hydra.sweep.dir=x is no setting of distillkit", "hydra/launcher"),
    ("hydra.searchpath=[pkg://torch]", "is no setting of distillkit"),
    ("++hydra.callbacks.a._target_=site.addsitedir", "is no setting of distillkit"),
    ("hydra.job.env_set.LD_PRELOAD=x.so", "is no setting of distillkit"),
    ("hydra.launcher._target_=os.system", "_target_ names code that would be run"),
    ("++hydra.sweeper.custom_search_space=os.system", "custom_search_space names code"),
    ("hydra/launcher=nope", "hydra/launcher=nope: there is no such option", "basic"),
    ("~hydra", "is no setting of distillkit"),
]


@pytest.mark.parametrize(
    ("typed", "words"), [pytest.param(typed, words, id=typed[:40]) for typed, *words in REFUSED]
)
def test_what_cannot_be_composed_is_refused_in_one_line(typed: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as refusal:
        compose("train", [typed])
    sentence = str(refusal.value)
    assert len(sentence) < 1500
    assert sentence.isprintable()
    for word in words:
        assert word in sentence


def test_metrics_are_chosen_by_name() -> None:
    with pytest.raises(ConfigError, match="a group takes the name of an option"):
        compose("eval", ["run=x", "metric=${oc.select:nope,3}"])


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("name=lr=1e-3", "'name=\"lr=1e-3\"'"),
        ("name=it's", "'name=\"it'\"'\"'s\"'"),
        ("name=(a)", "'name=\"(a)\"'"),
        ("name=größe", "'name=\"größe\"'"),
        ('name=a"b', '\'name="a\\"b"\''),
        ("output=a{b}", "'output=\"a{b}\"'"),
    ],
)
def test_the_line_to_type_is_shown_where_the_shell_took_the_quotes(typed: str, line: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        compose("train", [typed])
    assert str(refusal.value).endswith(f"type {line}")
    inside = line[1:-1].replace("'\"'\"'", "'")
    key, _, value = typed.partition("=")
    assert getattr(compose("train", [inside]).run, key) == value
