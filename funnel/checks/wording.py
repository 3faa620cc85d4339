"""The words of a mail: what a subject gives away, what nobody can promise, what sounds like spam, how hard it reads."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from funnel.checks.findings import at, error, line_of, short, warning
from funnel.guide.reading import grade, sentences, words
from funnel.model import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from funnel.compose.source import Mail
    from funnel.model import Finding

#: Words no mail of a clinic should promise with.
CLAIMS = re.compile(
    r"\b(cure[sd]?|guarantee[ds]?|miracle|breakthrough|lasting relief|permanent(ly)?|toxins?|detox|heal faster"
    r"|regenerat\w+|painless|safe for everyone|instantly|risk-free|act now|last chance)\b",
    re.IGNORECASE,
)
#: Words that name or hint at a condition must not stand where others can read them (HLT-2).
CONDITIONS = re.compile(
    r"\b(pain|ache\w*|aching|back|disc|needl\w+|spine|sciatica|injur\w+|chronic|symptom\w*|headache|diagnos\w+)\b",
    re.IGNORECASE,
)
#: What filters and people alike take for spam; a short list, because a long one only finds innocent words.
SPAM = re.compile(
    r"(?<!\w)(100 ?% free|click here|click below|limited[- ]time|offer expires|while supplies last|order now|buy now"
    r"|no obligation|no strings attached|dear friend|once in a lifetime|special promotion|this is not spam"
    r"|you(?:'ve| have) won|congratulations[,!]|double your|cash bonus|as seen on|what are you waiting for)(?!\w)",
    re.IGNORECASE,
)
SPAM_SUBJECT = re.compile(r"\b(winners?|urgent|free)\b", re.IGNORECASE)
SHOUT = re.compile(r"!!|[?!]{3}|\$\$")
REPLY = re.compile(r"\s*(re|fwd?|aw)\s*:", re.IGNORECASE)
LONGEST_SUBJECT = 70
#: The school year in which a mail should read easily.
HARDEST = 7.0
#: Words of a mail of the series: enough to help, few enough to be read on a phone.
WORDS = (120, 200)
#: In the text part: addresses, and what a picture shows.
ADDRESS = re.compile(r"\s?(?:\((?:https?://|mailto:|tel:)[^\s)]+\)|(?:https?://|mailto:|tel:)\S+)")
PICTURE = re.compile(r"^ *\[[^\]]*\]$", re.MULTILINE)
MARKER = re.compile(r"^ *(?:- |\d+\. |\* \* \*)")
#: Signs that are no pictures, though Unicode has them among the symbols.
PLAIN_SIGNS = frozenset("™®©°")


def check_words(mail: Mail, lines: list[str]) -> Iterator[Finding]:
    """Yield what is wrong with the words as they are written; ``lines`` are those of the mail's file."""
    for subject in mail.subjects:
        where = at(mail.file, line_of(lines, re.escape(subject)))
        yield from _seen_by_others(where, "subject", subject)
        yield from _subject(where, subject)
    where = at(mail.file, line_of(lines, r"^preheader\b"))
    yield from _seen_by_others(where, "preheader", mail.preheader)
    yield from _spam(where, mail.preheader)
    for number, line in enumerate(mail.body.split("\n"), mail.first_line):
        yield from _claim(at(mail.file, number), line)
        yield from _spam(at(mail.file, number), line)


def _seen_by_others(where: str, what: str, words: str) -> Iterator[Finding]:
    """Yield what must not stand where a locked phone shows it (HLT-2), or anywhere."""
    hint = CONDITIONS.search(words)
    if hint:
        yield error(where, f"the {what} says “{hint[0]}”, which tells others about health", "choose a neutral one")
    yield from _claim(where, words)


def _subject(where: str, subject: str) -> Iterator[Finding]:
    if REPLY.match(subject):
        yield error(where, "the subject pretends to answer or to pass on a mail", "begin it with its own words")
    if len(subject) > LONGEST_SUBJECT:
        yield warning(where, f"the subject has {len(subject)} characters", "phones show about 40")
    letters = [sign for sign in subject if sign.isalpha()]
    if len(letters) > 3 and all(letter.isupper() for letter in letters):
        yield warning(where, "the subject is all in capitals", "write it as a sentence")
    spam = SPAM.search(subject) or SPAM_SUBJECT.search(subject) or SHOUT.search(subject)
    if spam:
        yield warning(where, f"the subject says “{spam[0]}”, as spam does", "say plainly what is in the mail")


def _claim(where: str, line: str) -> Iterator[Finding]:
    claim = CLAIMS.search(line)
    if claim:
        yield error(where, f"“{claim[0]}” promises what nobody can", "say it with its caution")


def _spam(where: str, line: str) -> Iterator[Finding]:
    spam = SPAM.search(line) or SHOUT.search(line)
    if spam:
        yield warning(where, f"“{spam[0]}” sounds like spam, to filters and to people", "say it in plain words")


def pictured(name: str) -> str:
    """Return the first emoji or check mark in a name, or nothing (MSG-10)."""
    return next((sign for sign in name if unicodedata.category(sign) == "So" and sign not in PLAIN_SIGNS), "")


# --- how it reads ------------------------------------------------------------------------------


def check_reading(mail: Mail, text: str) -> Iterator[Finding]:
    """Yield what makes a mail hard to read; ``text`` is its own part of the plain text, without the frame."""
    prose = [piece for piece in paragraphs(text) if piece[-1] in ".!?”’)"]
    level = grade(" ".join(prose))
    if level > HARDEST:
        hardest = max((s for piece in prose for s in sentences(piece)), key=lambda s: (len(words(s)) > 3, grade(s)))
        where = at(mail.file, _line_of_sentence(mail, hardest))
        says = f"it reads at school grade {level:.1f}, above {HARDEST:.0f}; the hardest sentence is “{short(hardest)}”"
        yield warning(where, says, "shorten sentences and use shorter words")
    count = sum(len(words(piece)) for piece in paragraphs(text))
    if mail.kind is Kind.DRIP and not WORDS[0] <= count <= WORDS[1]:
        says = f"it has {count} words of its own; {WORDS[0]} to {WORDS[1]} are read"
        yield warning(mail.file, says, "cut it, or say more" if count > WORDS[1] else "say more")


def own_text(text: str, layout: str, signature: str) -> str:
    """Return the plain text of a mail without the frame around it, by the words the layout's end begins with."""
    plain = text.replace("\r\n", "\n")
    frame = layout.partition("<!-- content -->")[2].partition("{")[0].rstrip()
    own = plain.rpartition(frame)[0] if frame.strip() else ""
    return (own or plain).rstrip().removesuffix(signature)


def paragraphs(text: str) -> list[str]:
    """Return the paragraphs and list items of a plain text, without addresses, pictures and marks of lists."""
    bare = ADDRESS.sub("", PICTURE.sub("", text))
    pieces = (" ".join(MARKER.sub("", piece).split()) for piece in re.split(r"\n\s*\n", bare))
    return [piece for piece in pieces if piece]


def _line_of_sentence(mail: Mail, sentence: str) -> int:
    """Return the line a sentence begins in, found by its longest run of plain words; 0 for none."""
    start = words(sentence)[:4]
    pattern = r"\W+".join(map(re.escape, start))
    return line_of(mail.body.split("\n"), pattern, mail.first_line) if start else 0
