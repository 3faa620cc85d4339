"""How hard a text is to read, and what sentences it has."""

from __future__ import annotations

import re

WORD = re.compile(r"[A-Za-z0-9]+(?:['’-][A-Za-z0-9]+)*")
SENTENCE = re.compile(r".+?(?:[.!?…]+[\"”’)\]]*(?:⟦[^⟧]*⟧)*(?=\s|$)|$)", re.DOTALL)
#: Endings whose e is silent, and pairs of vowels that are spoken apart.
SILENT = re.compile(
    r"(?<=[^aeiouyl])e$|(?<=[aeiouy]l)e$|(?<=[^aeiouytd])ed$"
    r"|(?<=[^aeiouy][^aeiouyscgzx])es$|(?<=[aeiouy][kmnprtv])es$"
)
APART = re.compile(
    r"ia(?!l$|n$|ge)|io(?!n)|eo(?!u)|iu|ua(?!r)|uou|[^q]ui(?=ng)|ying|eing|^rea[cls][^h]|ism\b|^scie|^area"
)


def sentences(text: str) -> list[str]:
    """Return the sentences of a text; source marks ``⟦…⟧`` stay with the sentence they close."""
    found = (match[0].strip() for match in SENTENCE.finditer(text))
    return [sentence for sentence in found if sentence]


def words(text: str) -> list[str]:
    """Return the words of a text; a number is a word."""
    return WORD.findall(text)


def syllables(word: str) -> int:
    """Return about how many syllables an English word has, at least one."""
    letters = re.sub(r"[^a-z]", "", word.lower())
    if not letters:
        return 1
    stem = SILENT.sub("", letters)
    groups = len(re.findall(r"[aeiouy]+", stem)) + len(APART.findall(letters))
    return max(1, groups)


def grade(text: str) -> float:
    """Return the Flesch-Kincaid grade: the school year in which a text is easy to read.

    The text needs at least one word; 0.0 is returned for none.
    """
    found = words(text)
    if not found:
        return 0.0
    count = sum(syllables(part) for word in found for part in re.split(r"[-]", word) if part)
    return 0.39 * len(found) / max(1, len(sentences(text))) + 11.8 * count / len(found) - 15.59
