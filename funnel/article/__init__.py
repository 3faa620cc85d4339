"""From an article to sections with lasting names, and from sections to first drafts of mails.

The same article gives the same sections whether it arrives as Markdown, as a saved web page
or as bare text copied from a browser. No network, no database: text in, plain values out;
only ``read_memory`` and ``write_memory`` touch a file, the one beside the article.
"""

from __future__ import annotations

from funnel.article.drafts import DraftMail, draft_mails
from funnel.article.memory import (
    Remembered,
    SectionChange,
    diff_articles,
    memory_path,
    read_memory,
    remember,
    write_memory,
)
from funnel.article.parts import Article, Aside, Section
from funnel.article.read import read_article

__all__ = [
    "Article",
    "Aside",
    "DraftMail",
    "Remembered",
    "Section",
    "SectionChange",
    "diff_articles",
    "draft_mails",
    "memory_path",
    "read_article",
    "read_memory",
    "remember",
    "write_memory",
]
