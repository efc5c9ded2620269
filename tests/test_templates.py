"""Templates of strangers end soon, say why, and read the same on every day."""

import random
import time
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from distillkit.core.errors import ConfigError
from distillkit.core.templates import RenderingError, render_chat, render_strict, variables_of
from distillkit.lessons.prompts import Prompts

TURNS = [
    {"role": "system", "content": " Be brief. "},
    {"role": "user", "content": "Is 1 < 2 & 3?\n"},
    {"role": "assistant", "content": "<think>\nYes.\n</think>\n\nYes."},
    {"role": "user", "content": "Why?"},
]

GROWING = """{% set ns = namespace(x='ab', y=['ab']) %}{% for i in range(99) %}{% set ns.x = @ %}
{% endfor %}"""
HOSTILE = {
    "nested loops": "{% for a in range(99999) %}" * 5 + "{% endfor %}" * 5,
    "a long text": "{{ 'a' * 3000000000 }}",
    "a long list": "{{ ([0] * 3000000000)|length }}",
    "a large power": "{{ 9**(9**9) }}",
    "a large power of a negative number": "{{ (-9)**(9**9) }}",
    "a large product": GROWING.replace("@", "(ns.x|int + 3) ** 200 * (ns.x|int + 3) ** 200"),
    "doubling by ~": GROWING.replace("@", "ns.x ~ ns.x"),
    "doubling by +": GROWING.replace("@", "ns.x + ns.x"),
    "doubling by the filter join": GROWING.replace("@", "[ns.x, ns.x]|join(ns.x)"),
    "doubling by the method join": GROWING.replace("@", "ns.x.join([ns.x, ns.x])"),
    "doubling by replace": GROWING.replace("@", "ns.x.replace('a', ns.x)"),
    "doubling by the filter replace": GROWING.replace("@", "ns.x|replace('a', ns.x)"),
    "doubling by format": GROWING.replace("@", "'%s%s'|format(ns.x, ns.x)"),
    "doubling by the method format": GROWING.replace("@", "'{0}{0}'.format(ns.x)"),
    "doubling by %": GROWING.replace("@", "'%s%s' % (ns.x, ns.x)"),
    "doubling by JSON": GROWING.replace("@", "[ns.x, ns.x]|tojson"),
    "doubling in a block": "{% set x = 'ab' %}" + "{% set x %}{{ x }}{{ x }}{% endset %}" * 60,
    "doubling lists": "{% set ns = namespace(y=[1]) %}{% for i in range(99) %}"
    "{% set ns.y = ns.y + ns.y %}{% endfor %}",
    "shared lists": "{{ [['a' * 1000] * 1000] * 1000 }}",
    "shared values": "{{ dict.fromkeys(range(99999), 'a' * 99999).values() }}",
    "a shared namespace": "{% set n = namespace(x=['a' * 99999] * 900) %}{{ n }}{{ n }}",
    "a macro in itself": "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
    "a macro twice in itself": "{% macro f(x) %}{% if x %}{{ f(x-1) }}{{ f(x-1) }}{% endif %}"
    "{% endmacro %}{{ f(60) }}",
    "a block in itself": "{% block x %}{{ self.x() }}{% endblock %}",
    "a recursive loop": "{% for a in [1] recursive %}{{ loop([1, 1]) }}{% endfor %}",
    "a wide field": "{{ '%9999999999d'|format(1) }}",
    "a wide field by %": "{{ '%9999999999d' % 1 }}",
    "a precise field": "{{ '%.9999999999f' % 1 }}",
    "a wide field by format": "{{ '{:9999999999}'.format(1) }}",
    "a wide field that is given": "{{ '{:{w}}'.format(1, w=10**10) }}",
    "a wide field by *": "{{ '%*d' % (9999999999, 1) }}",
    "a wide field by format_map": "{{ '{x:9999999999}'.format_map({'x': 1}) }}",
    "center": "{{ 'a'|center(3000000000) }}",
    "the method center": "{{ 'a'.center(3000000000) }}",
    "ljust": "{{ 'a'.ljust(3000000000) }}",
    "zfill": "{{ 'a'.zfill(3000000000) }}",
    "tabs": "{{ '\t'.expandtabs(3000000000) }}",
    "many tabs": "{{ ('\t' * 99999).expandtabs(99999) }}",
    "translate": "{{ ('a' * 9999).translate({97: 'b' * 99999}) }}",
    "indent": "{{ ('a\n' * 1000)|indent(100000000) }}",
    "wordwrap": "{{ ('a ' * 99999)|wordwrap(1, wrapstring='b' * 99999)|length }}",
    "batch": "{{ [1]|batch(1000000000, 'x')|list }}",
    "slice": "{{ [1]|slice(1000000000)|list }}",
    "round": "{{ 1.5|round(1000000000, 'ceil') }}",
    "indented JSON": "{{ [[1] * 999]|tojson(indent=100000000) }}",
    "mapped": "{{ range(99999)|map('center', 99999)|list|length }}",
    "mapped texts": "{{ (['a' * 99999] * 99999)|map('upper')|list|length }}",
    "long texts again and again": "{% for i in range(99999) %}{{ ('a' * 999999)|upper|length }}"
    "{% endfor %}",
    "long template text": "{% for i in range(99999) %}" + "x" * 100000 + "{% endfor %}",
    "brackets": "{{ " + "(" * 100000 + "1" + ")" * 100000 + " }}",
    "a sum": "{{ " + "+".join(["1"] * 50000) + " }}",
    "digits": "{{ " + "9" * 100000 + " }}",
    "deep loops": "{% for a in [1] %}" * 60 + "{% endfor %}" * 60,
    "a long template": "x" * 1_000_000,
    "chance": "{{ [1, 2]|random }}",
    "chance in words": "{{ lipsum() }}",
    "a private name": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "a private name by format": "{{ '{0.__class__.__mro__}'.format('') }}",
    "a private name in a namespace": "{% set n = namespace(__init__=1) %}{{ n }}",
    "a file": "{% include 'x' %}",
    "an import": "{% import 'os' as os %}{{ os }}",
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE)
def test_a_template_that_asks_for_too_much_ends_soon(source: str) -> None:
    start = time.process_time()
    with pytest.raises(RenderingError) as caught:
        render_chat(source, TURNS, {})
    assert time.process_time() - start < 8
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", ["nested loops", "a long text", "a large power", "doubling by ~"])
def test_a_prompt_that_asks_for_too_much_is_refused_when_it_is_composed(name: str) -> None:
    fields = dict.fromkeys(("first", "later", "untargeted"), "{{ question }}")
    with pytest.raises(ConfigError, match=r"^prompt\.write cannot be rendered \(it .*Mend it\.$"):
        Prompts(ending="x", write="{{ question }}" + HOSTILE[name], **fields)


def test_the_limit_of_work_is_the_same_every_time() -> None:
    source = "{% for a in range(99999) %}{% for b in range(99999) %}{{ seen.append(1) or '' }}"
    source += "{% endfor %}{% endfor %}"
    counts = []
    for _ in range(2):
        seen: list[int] = []
        with pytest.raises(RenderingError, match="loops or grows without end"):
            render_strict(source, {"seen": seen})
        counts.append(len(seen))
    assert counts[0] == counts[1] > 10_000


def test_a_long_conversation_is_within_the_limits() -> None:
    turns = [{"role": "user", "content": "word " * 20_000}] * 400
    source = (
        "{% for m in messages %}{% for n in messages[:9] %}{{ n.role }}{% endfor %}"
        "{{ m.content|trim|replace('w', 'W')|tojson }}{% endfor %}{{ messages|tojson }}"
    )
    assert len(render_chat(source, turns, {})) > 80_000_000


WRITTEN = {
    "loops": "{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ loop.last }}"
    "{{ loop.revindex0 }}{{ m['role'] ~ ':' ~ m.content }}{% endfor %}",
    "a filtered loop": "{% for m in messages if m.role != 'system' %}{{ loop.length }}{{ m.role }}"
    "{% else %}none{% endfor %}{% for x in [] %}{% else %}none{% endfor %}",
    "a recursive loop": "{% for x in [[1, [2]], [3]] recursive %}{% if x is iterable %}("
    "{{ loop(x) }}){% else %}{{ x }}{{ loop.depth }}{% endif %}{% endfor %}",
    "breaks": "{% for m in messages %}{% if loop.index == 2 %}{% continue %}{% endif %}"
    "{% if loop.index == 3 %}{% break %}{% endif %}{{ m.role }}{% endfor %}",
    "a namespace": "{% set ns = namespace(n=0, t='') %}{% for m in messages %}"
    "{% set ns.n = ns.n + m.content|length %}{% set ns.t = ns.t + m.role[0] %}{% endfor %}"
    "{{ ns.n }}{{ ns.t }}",
    "macros": "{% macro f(x, y=2) %}<{{ x }}{{ y }}{{ caller() if caller }}>{% endmacro %}"
    "{{ f(1) }}{% call f(3) %}c{% endcall %}",
    "blocks": "{% set x %}a{{ 1 }}{% endset %}{{ x }}{% filter upper %}b{{ x }}{% endfilter %}",
    "generation": "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}"
    "{% endfor %}",
    "JSON": "{{ messages|tojson }}{{ messages|tojson(indent=2) }}{{ {'é': '<'}|tojson }}",
    "methods": "{{ messages[2].content.split('</think>')[-1].lstrip('\n') }}{{ 'a-b'.split('-') }}"
    "{{ ', '.join(['a', 'b']) }}{{ 'ab'.replace('a', 'x') }}{{ 'a'.center(5) }}"
    "{{ messages[0].content.strip().startswith('Be') }}{{ '{:>5}{}'.format(3, 'x') }}",
    "filters": "{{ messages|map(attribute='role')|join(',') }}{{ messages|selectattr('role',"
    " 'equalto', 'user')|map(attribute='content')|list }}{{ 'ab cd'|wordwrap(2)|indent(2) }}"
    "{{ [1, 2]|sum }}{{ '%d%s'|format(1, 'x') }}{{ 2.55|round(1) }}{{ [3, 1]|sort }}"
    "{{ 'x'|center(5) }}{{ [1, 2, 3]|batch(2, 0)|list }}{{ {'b': 1, 'a': 2}|dictsort }}{{ '<'|e }}"
    "{{ 'ab'|first }}"
    "{{ none|default('n', true) }}{{ range(5)|list }}",
    "numbers": "{{ 2 ** 10 }}{{ 7 // 2 }}{{ 7 % 4 }}{{ 'a' * 3 }}{{ 1.5 * 2 }}{{ [1] * 2 }}{{ -1 }}"
    "{{ 'x%sy' % 3 }}{{ [1] + [2] }}",
    "dictionaries": "{% for k, v in dict(a=1, b=2).items() %}{{ k }}{{ v }}{% endfor %}"
    "{{ dict.fromkeys([1, 2], 0) }}{{ {'a': 1}.get('b', 3) }}",
    "undefined": "{{ nothing }}{{ tools }}{% if documents %}d{% endif %}{{ nothing is defined }}",
    "white space": "  {%- if true %}\n  a\n  {% endif %}\n\tb {# c #}\n",
    "variables": "{{ bos_token }}{{ eos_token }}{{ add_generation_prompt }}{{ enable_thinking }}",
}


@pytest.mark.parametrize("source", WRITTEN.values(), ids=WRITTEN)
def test_a_healthy_template_gives_what_transformers_gives(source: str) -> None:
    values: dict[str, Any] = {"bos_token": "<s>", "eos_token": "</s>", "enable_thinking": False}
    values["add_generation_prompt"] = True
    ((expected,), _) = render_jinja_template([TURNS], chat_template=source, **values)
    assert render_chat(source, TURNS, values) == expected


def test_the_clock_of_a_template_stands() -> None:
    source = "{{ strftime_now('%d %B %Y, %H:%M') }}"
    assert render_chat(source, TURNS, {}) == "01 January 2025, 00:00"
    assert "strftime_now" in variables_of(source)


def test_no_draw_of_a_template_moves_the_streams_of_others() -> None:
    before = random.getstate()
    with pytest.raises(RenderingError):
        render_chat("{{ 'abc'|random }}", TURNS, {})
    assert random.getstate() == before


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{{ raise_exception('No system role.') }}", "No system role."),
        ("{{ 1 / 0 }}", "ZeroDivisionError: division by zero"),
        ("{{ {} + 1 }}", "TypeError: unsupported operand"),
        ("{{ a.b.c }}", "'a' is undefined"),
        ("{{ 'a", "line 1: unexpected char"),
        ("\n{% if %}", "line 2: Expected an expression"),
        ("{{ 1|nope }}", "line 1: No filter named 'nope'."),
        ("{{ messages[9].role }}", "list object has no element 9"),
        ("{{ raise_exception() }}", "TypeError"),
        ("{{ messages.append(1) }}", "access to attribute 'append'"),
    ],
)
def test_what_ends_a_template_is_said(source: str, reason: str) -> None:
    with pytest.raises(RenderingError) as caught:
        render_chat(source, TURNS, {})
    assert str(caught.value).startswith(reason)
