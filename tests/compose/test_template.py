"""What a mail may say in Jinja, that placeholders outlive Markdown and the inliner, and that compiling is kept."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funnel.compose.source import load_library
from funnel.compose.template import FIELDS, compile_mail, environment
from funnel.errors import ContentError
from tests.compose.kit import LAYOUT, SAMPLES, fields, library_of, mail_of, message_of, parts, small

if TYPE_CHECKING:
    from pathlib import Path

    from funnel.compose.template import Compiled


def compiled(body: str, **layout: str) -> Compiled:
    mail = mail_of(body)
    return compile_mail(mail, library_of(mail, **layout))


def refusal(body: str, **layout: str) -> str:
    with pytest.raises(ContentError) as caught:
        compiled(body, **layout)
    return str(caught.value)


def both(body: str, **changes: Any) -> tuple[str, str]:
    """Return plain text and HTML of a mail with this body, filled in for Kim."""
    return parts(message_of(small(body), **changes))


# --- the subset of Jinja -----------------------------------------------------------------------

#: SEC-11: what a template must not be able to say, from the usual lists and the advisories named.
FORBIDDEN = {
    "power": "{{ 9**9**9 }}",
    "a long text": "{{ 'a' * 10**9 }}",
    "addition": "{{ name + name }}",
    "joining": "{{ name ~ name }}",
    "range": "{% for each_x in range(10**9) %}x{% endfor %}",
    "a call": "{{ name() }}",
    "a method": "{{ name.upper() }}",
    "a bound method": "{{ name.upper }}",
    "a class": "{{ name.__class__ }}",
    "a class by bracket": "{{ name['__class__'] }}",
    "a class by filter": "{{ name|attr('__class__') }}",
    "the way to os": "{{ name.__class__.__mro__[1].__subclasses__() }}",
    "globals by self": "{{ self.__init__.__globals__ }}",
    "globals by cycler": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "globals by lipsum": "{{ lipsum.__globals__['os'] }}",
    "a clinic's method": "{{ clinic.items }}",
    "a clinic's class": "{{ clinic.__class__ }}",
    "config": "{{ config }}",
    "request": "{{ request.application }}",
    "format (CVE-2024-56326)": "{% set f = '{0.__class__}'.format %}{{ f(name) }}",
    "format by map (CVE-2024-56326)": "{{ ['{0.__class__}']|map('format', name)|first }}",
    "format by attr (CVE-2025-27516)": "{{ ('{0.__class__}'|attr('format'))(name) }}",
    "format by filter": "{{ '%s'|format(name) }}",
    "import (CVE-2024-56201)": "{% import 'a\\n\\x00' as x %}",
    "from import": "{% from 'x' import y %}",
    "include": "{% include '/etc/passwd' %}",
    "extends": "{% extends 'x' %}",
    "block": "{% block x %}{% endblock %}",
    "macro": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "call": "{% call x() %}{% endcall %}",
    "set": "{% set name = 1 %}",
    "set block": "{% set name %}x{% endset %}",
    "filter block": "{% filter upper %}x{% endfilter %}",
    "with": "{% with name = 1 %}{% endwith %}",
    "autoescape": "{% autoescape false %}{{ name }}{% endautoescape %}",
    "safe": "{{ name|safe }}",
    "do": "{% do name %}",
    "a list": "{{ [1, 2] }}",
    "a dict": "{{ {'a': 1} }}",
    "a slice": "{{ name[0:3] }}",
    "an unknown field": "{{ nmae }}",
    "an unknown clinic field": "{{ clinic.nmae }}",
    "a loop in a loop": "{% for each_a in name %}{% for each_b in name %}x{% endfor %}{% endfor %}",
    "a recursive loop": "{% for each_a in name recursive %}{{ loop(name) }}{% endfor %}",
    "a loop that hides a field": "{% for name in clinic %}x{% endfor %}",
    "the loop's own variable": "{% for each_a in name %}{{ loop.index }}{% endfor %}",
    "a test with an argument that calls": "{{ name is sameas(name()) }}",
    "an endless tag": "{% if name %}",
    "an end too many": "{% endif %}",
    "a broken tag": "{{ name",
    "an empty tag": "{{ }}",
    "an unknown filter": "{{ name|shout }}",
    "an unknown test": "{{ name is loud }}",
}


@pytest.mark.parametrize("payload", FORBIDDEN.values(), ids=FORBIDDEN)
def test_what_a_mail_may_not_say_is_refused_with_its_line(payload: str) -> None:
    says = refusal(f"First line.\n\nThird line, {payload}\n")

    assert says.startswith("emails/series/tip.md line 12: ")
    assert says.endswith(".")


@pytest.mark.parametrize("payload", FORBIDDEN.values(), ids=FORBIDDEN)
def test_subjects_and_layout_are_held_to_the_same(payload: str) -> None:
    mail = mail_of("Hello")
    for changed in (replace(mail, subjects=("A tip", payload)), replace(mail, preheader=payload)):
        with pytest.raises(ContentError, match=r"^emails/series/tip\.md line 1: "):
            compile_mail(changed, library_of(changed))
    assert refusal("Hello", layout_text="<!-- content -->\n" + payload).startswith("emails/_layout/layout.txt line 2: ")
    page = LAYOUT.replace("</body>", f"\n{payload}</body>")
    assert "layout.html" in refusal("Hello", layout_html=page)


@pytest.mark.parametrize(
    "disguised",
    [
        r"{\{ 9**9**9 }}",
        r"\{\{ 9**9**9 \}\}",
        "{&#123; 9**9**9 }}",
        "&#123;&#123; name.__class__ }}",
        "&lbrace;&lbrace; name.__class__ &rbrace;&rbrace;",
        r"{\% for each_a in range(9) %}x{\% endfor %}",
        r"{\% include '/etc/passwd' %}",
        "{% raw %}{\\{ name.__class__ }}{% endraw %}",
        "[a]: https://x.example '{% raw %}'\n\n{{ name }} {{ 'x' }}\n\n[b]: https://x.example '{% endraw %}'",
    ],
)
def test_markdown_cannot_smuggle_a_template_in(disguised: str) -> None:
    """SEC-11: what is no Jinja in the source must not become Jinja in the page."""
    started = time.process_time()
    try:
        text, page = both(disguised)
    except ContentError:
        pass
    else:
        assert "<class" not in text
        assert "&lt;class" not in page
        assert "387420489" not in text + page
        assert "root:" not in text + page
    assert time.process_time() - started < 30


@pytest.mark.parametrize(
    ("body", "name", "expected"),
    [
        ("Hello{% if name %} {{ name }}{% endif %},", "Kim", "Hello Kim,"),
        ("Hello{% if name %} {{ name }}{% endif %},", "", "Hello,"),
        ("{{ name|upper }} {{ name|default('x') }} {{ name|trim|lower }}", "Kim", "KIM Kim kim"),
        ("{{ 'a' if name == 'Kim' else 'b' }}", "Kim", "a"),
        ("{% if name and not gift_code %}a{% elif name != 'x' or name %}b{% else %}c{% endif %}", "Kim", "b"),
        ("{% for each_letter in name %}{{ each_letter }}.{% endfor %}", "Kim", "K.i.m."),
        ("{{ clinic.name }}{# not shown #}", "", "Mill Clinic"),
        ("{{ name is defined }}", "", "True"),
    ],
)
def test_what_a_mail_may_say(body: str, name: str, expected: str) -> None:
    text, page = both(body, name=name)

    assert text.startswith(expected + "\n")
    assert f">{expected}</p>" in page


def test_every_field_may_be_named() -> None:
    assert set(fields()) == FIELDS
    text, _ = both(" ".join(f"{{{{ {field} }}}}" for field in sorted(FIELDS - {"clinic"})))

    assert "7K3M-9QXA-P2VD-5" in text


@pytest.mark.parametrize("line", [1, 2, 7, 40])
def test_an_unknown_field_is_named_with_the_line_of_the_file(line: int) -> None:
    says = refusal("word\n" * (line - 1) + "{{ frist_name }}")

    assert says.startswith(
        f"emails/series/tip.md line {9 + line}: there is no field “frist_name”; there are: again_url"
    )


@given(st.text(alphabet="{}%#|.()[]'\"+*~ nameforifendclc_0\n", max_size=60))
def test_no_template_text_crashes(source: str) -> None:
    from funnel.compose.template import check_source

    try:
        check_source(environment(), source, "emails/series/tip.md", 1)
    except ContentError as error:
        assert str(error).startswith("emails/series/tip.md line ")  # noqa: PT017


def test_the_loop_a_mail_may_have_ends() -> None:
    """A field has 2 000 characters at most, so the longest loop has 2 000 turns."""
    body = "{% for each_letter in name %}" + "x" * 30 + "{% endfor %}"

    with pytest.raises(ContentError, match="The HTML part is"):
        both(body * 5, name="k" * 10_000_000)


# --- placeholders survive ----------------------------------------------------------------------


def test_fields_survive_in_text_attributes_and_lists() -> None:
    body = (
        "# Hello {{ name }}\n\nRead [page {{ guide_page }}]({{ guide_page_url }} 'p. {{ guide_page }}') *{{ name }}*.\n"
        "\n- one {{ gift_code }}\n- two `{{ gift_name }}`\n\n> {{ why }}\n\n"
        "[[button: Open {{ guide_title }} | {{ guide_url }}]]\n"
    )
    text, page = both(body)

    for shown in ("Hello Kim", "page 12", "7K3M-9QXA-P2VD-5", "a welcome gift", "You asked for it.", "Open The guide"):
        assert shown in re.sub(r"<[^>]+>", "", page)
        assert shown in text
    assert 'href="https://go.mill.example/g/abc/guide.pdf#page=12" title="p. 12"' in page
    assert 'href="https://go.mill.example/g/abc"' in page
    assert "q9z" not in page + text


@pytest.mark.parametrize("shown", [True, False])
def test_conditions_survive_between_table_rows_and_paragraphs(*, shown: bool) -> None:
    layout = LAYOUT.replace(
        "{% if unsubscribe_url %}",
        "{% if phone_row %}<tr><td>never</td></tr>{% endif %}{% if unsubscribe_url %}".replace(
            "phone_row", "test_banner"
        ),
    )
    body = "Before.\n\n{% if name %}\n\nInside **one**.\n\n- item\n\n{% else %}\n\nOtherwise.\n\n{% endif %}\n\nAfter."
    mail = mail_of(body)
    page = compile_mail(mail, library_of(mail, layout_html=layout)).html
    filled = environment().from_string(page).render(fields(name="Kim" if shown else "", test_banner=""))

    assert ("Inside <strong>one</strong>." in filled) is shown
    assert ("Otherwise." in filled) is not shown
    assert "never" not in filled
    assert filled.count("<tr>") == filled.count("</tr>") == 2
    assert "<p></p>" not in filled
    assert "<!--" not in filled


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("<td {{ name }}>x</td>", "{{ name }} stands inside a tag or <style>"),
        ("<td class={{ name }}>x</td>", "{{ name }} stands inside a tag or <style>"),
        ("<td {% if name %}class='a'{% endif %}>x</td>", "{% if name %} stands inside a tag or <style>"),
        ("<style>p { color: {{ name }} }</style>", "{{ name }} stands inside a tag or <style>"),
        ("<!-- {{ name }} -->", "{{ name }} stands inside a tag or <style>"),
    ],
)
def test_a_placeholder_where_it_cannot_survive_is_refused(page: str, expected: str) -> None:
    assert expected in refusal("Hello", layout_html=LAYOUT.replace("</body>", page + "</body>"))


@pytest.mark.parametrize("missing", ["<!-- content -->", "/* styles */"])
def test_a_layout_without_a_place_for_words_or_styles_is_refused(missing: str) -> None:
    assert "must contain <!-- content --> and /* styles */ once each" in refusal(
        "Hello", layout_html=LAYOUT.replace(missing, "")
    )


@pytest.mark.parametrize(
    "body",
    [
        "{% if name %}\n\n[a]: https://x.example '{% endif %}'\n\nHello",
        "[a]: https://x.example '{% if name %}'\n\nsecret\n\n[b]: https://x.example '{% endif %}'",
        "[a]: {{ guide_url }}\n\nHello",
    ],
)
def test_a_placeholder_that_markdown_swallows_is_missed(body: str) -> None:
    """A condition that vanishes would show to everybody what was meant for some."""
    assert "got lost, because Markdown shows nothing of where it stands" in refusal(body)


@pytest.mark.parametrize("word", ["q9z0z9q", "q9z99z9q"])
def test_our_own_marks_are_not_for_mails(word: str) -> None:
    assert "which is kept for our own use" in refusal(f"Hello {word} {{{{ name }}}}")


snippets = st.sampled_from(
    [
        "{{ name }}", "{{ gift_code }}", "*{{ name }}*", "[x]({{ guide_url }})", "[{{ name }}]({{ section_url }})",
        "`{{ name }}`", "**a** b", "{% if name %}yes{% else %}no{% endif %}", "&amp;", "“q”", "<b>", "word",
        "{{ clinic.phone }}",
    ]
)  # fmt: skip
blocks = st.builds(
    "{}{}".format,
    st.sampled_from(["", "# ", "> ", "- ", "1. ", "    ", "- a\n  - "]),
    st.lists(snippets, min_size=1, max_size=5).map(" ".join),
)


@settings(max_examples=60)
@given(st.lists(blocks, min_size=1, max_size=5).map("\n\n".join))
def test_every_placeholder_of_a_mail_is_in_both_parts_in_its_order(body: str) -> None:
    tags = re.findall(r"\{[{%].*?[%}]\}", body)
    made = compiled(body)
    for source in (made.html, made.text):
        kept = re.findall(r"\{[{%].*?[%}]\}", source)
        rest = iter(kept)
        assert Counter(kept) >= Counter(tags)
        if "](" not in body:
            assert all(tag in rest for tag in tags)
        assert "q9z" not in source


# --- styles ------------------------------------------------------------------------------------


def test_styles_are_written_into_elements_and_media_rules_stay() -> None:
    page = compiled("Hello").html

    assert re.search(r'<p style="color: ?#123456">Hello</p>', page)
    assert "@media print" in page
    assert "!important" in page
    assert page.startswith(("<html", "<!DOCTYPE"))


def test_the_inliner_fetches_nothing() -> None:
    """A layout that names another machine is compiled without a connection; the tests allow none."""
    layout = LAYOUT.replace("</head>", '<link rel="alternate" href="https://evil.example/x.css"></head>')

    assert "Hello" in compiled("Hello", layout_html=layout).html


# --- compiled once per version -----------------------------------------------------------------


def test_a_compiled_mail_is_kept_and_used_again(tmp_path: Path) -> None:
    mail = mail_of("Hello {{ name }}")
    library = library_of(mail)
    first = compile_mail(mail, library, tmp_path)
    (file,) = tmp_path.iterdir()
    kept = json.loads(file.read_text())
    file.write_text(json.dumps(kept | {"text": "from the shelf"}))

    assert file.stem == first.version == kept["version"]
    assert compile_mail(mail, library, tmp_path) == replace(first, text="from the shelf")


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"version": "x"}', '{"a": 1}', "\0"])
def test_a_damaged_copy_is_made_anew(tmp_path: Path, damage: str) -> None:
    mail = mail_of("Hello")
    first = compile_mail(mail, library_of(mail), tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text(damage)

    assert compile_mail(mail, library_of(mail), tmp_path) == first
    assert json.loads(file.read_text())["version"] == first.version


def test_a_shelf_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    mail = mail_of("Hello")

    assert compile_mail(mail, library_of(mail), tmp_path / "file" / "mails").text


def test_every_change_is_another_version() -> None:
    mail = mail_of("Hello")
    library = library_of(mail)
    changed = [
        (replace(mail, body="Hello!"), library),
        (replace(mail, subjects=("A tip", "Another")), library),
        (replace(mail, preheader="p"), library),
        (mail, replace(library, styles=library.styles + " ")),
        (mail, replace(library, layout_html=library.layout_html + " ")),
        (mail, replace(library, layout_text=library.layout_text + " ")),
        (mail, library),
    ]

    assert len({compile_mail(*pair).version for pair in changed}) == len(changed)


SCRIPT = """
import sys
from pathlib import Path
from funnel.compose.letters import Composer
from tests.compose.kit import SAMPLES, message_of, sample

shelf, heavy = Path(sys.argv[1]), {"premailer", "cssutils", "lxml", "markdown_it"}
message = message_of(sample(shelf), "series", "guide")
print(len(message) > 1000, sorted(heavy & set(sys.modules)))
"""


def test_a_mail_from_the_shelf_does_not_wait_for_the_inliner(tmp_path: Path) -> None:
    def run() -> str:
        command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
        return subprocess.run(command, cwd=SAMPLES.parent, capture_output=True, text=True, check=True).stdout

    assert "premailer" in run()
    assert run() == "True []\n"


def test_all_sample_mails_compile() -> None:
    library = load_library(SAMPLES)

    assert all(compile_mail(mail, library).html for mail in library.mails.values())
