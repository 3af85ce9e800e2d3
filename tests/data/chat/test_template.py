"""What a template writes: as transformers has it, in a sandbox, and the same every day."""

import datetime
from pathlib import Path
from typing import Any

import pytest

from conversations import CHATML, LLAMA3, MARKED, turns
from refusals import refused
from slipway.data.chat.template import Rejected, Template
from slipway.errors import UserError

TOKENS = {"bos_token": "<|bos|>", "eos_token": "<|eot_id|>"}
PATH = Path("chat_template.jinja")


def template(source: str, date: datetime.date | None = None) -> Template:
    return Template(source, PATH, TOKENS, date)


SOURCES = {
    "chatml": CHATML,
    "llama3": LLAMA3,
    "marked": MARKED,
    "blocks leave no lines": "{% for m in messages %}\n    {% if m.role == 'user' %}\n  {{ m.content }}\n"
    "    {% endif %}\n{% endfor %}\n",
    "loop controls": "{% for m in messages %}{% if loop.index > 2 %}{% break %}{% endif %}{% if m.role == 'system' %}"
    "{% continue %}{% endif %}{{ m.content }};{% endfor %}",
    "JSON keeps its characters": "{{ messages | tojson }}{{ messages[0] | tojson(indent=2) }}",
    "a namespace": "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}"
    "{{ ns.n }}",
    "what is missing is nothing": "{{ pad_token }}{{ nothing }}|{{ bos_token }}{{ tools is none }}{{ eos_token }}",
    "a default": "{% if strftime_now is defined %}{{ dict(a=1)['a'] }}{% endif %}{{ range(3) | list }}",
}
SAID = turns("  <b>Zürich & 'naïve'?  ", "東京 🚀\n\tyes ", "and\n\n", "no", system="Be brief.")


@pytest.mark.parametrize("prompt", [False, True])
@pytest.mark.parametrize("name", SOURCES)
def test_writes_what_transformers_writes(name: str, prompt: bool) -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    more: dict[str, Any] = dict(TOKENS)
    [expected], _ = render_jinja_template(
        [SAID], chat_template=SOURCES[name], add_generation_prompt=prompt, **more
    )
    assert template(SOURCES[name]).render(SAID, prompt) == expected


def test_marks_are_no_text() -> None:
    marked = template(MARKED).marked(turns("2+2?", "4", "sure?", "yes"))
    assert [marked.text[start:stop] for start, stop in marked.spans] == ["4<|im_end|>", "yes<|im_end|>"]
    assert template(MARKED).marks
    assert not template(CHATML).marks


def test_what_a_template_refuses_is_said() -> None:
    source = "{% if messages[0].role != 'user' %}{{ raise_exception('roles alternate') }}{% endif %}"
    with pytest.raises(Rejected, match="roles alternate"):
        template(source).render(turns("hello", system="x"))


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='x') }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ raise_exception.__globals__['os'] }}",
        "{{ messages.__init__.__globals__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('touch owned').read() }}",
        "{{ ('{0.__class__.__init__.__globals__}').format(messages) }}",
    ],
)
def test_no_code_runs(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = turns("hello")
    with refused(PATH):
        print(template(source).render(said))
    assert said == turns("hello")
    assert not list(tmp_path.iterdir())


def test_what_is_inside_python_is_nothing() -> None:
    said = turns("hello")
    assert template("{{ '%s' | format(messages.__class__) }}").render(said) == ""
    with pytest.raises(Rejected):
        template("{% set ns = namespace() %}{% set ns.x = ns.__init__.__globals__ %}").render(said)


@pytest.mark.parametrize("source", ["{% include 'secret' %}", "{% import 'os' as os %}", "{% extends 'a' %}"])
def test_no_file_is_read(source: str) -> None:
    with pytest.raises(Rejected):
        template(source).render(turns("hello"))


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("a\n{% for m in messages %}", 2),
        ("{{ messages | random }}", 1),  # another each time
        ("\n\n{% generation %}words", 3),
    ],
)
def test_what_is_no_template(source: str, line: int) -> None:
    with refused(PATH, line):
        template(source)


def test_nothing_is_drawn_at_random() -> None:
    with pytest.raises((Rejected, UserError)):
        template("{{ lipsum() }}").render(turns("hello"))


def test_a_marked_block_that_is_left_early() -> None:
    source = (
        "{% for m in messages %}{% generation %}{{ m.content }}{% break %}{% endgeneration %}{% endfor %}"
    )
    with refused(PATH, "generation"):
        template(source).render(turns("hello"))


def test_the_day_is_the_one_that_is_given() -> None:
    source = "{{ strftime_now('%d %b %Y') }}"
    assert template(source, datetime.date(2025, 1, 31)).render(turns("hello")) == "31 Jan 2025"
    with refused("data.tokenizer.date", PATH, use="2025-01-31"):
        template(source).render(turns("hello"))
