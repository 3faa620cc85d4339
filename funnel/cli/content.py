"""Commands about the clinic's words: article, guide."""

from __future__ import annotations

from pathlib import Path

import click

from funnel.cli.output import json_option, many, open_file, print_json, say, table, the_funnel, write_new
from funnel.errors import ArticleError
from funnel.model import Level


@click.group("guide")
def guide_command() -> None:
    """Build, check and open the guide.

    \b
    Example:  funnel guide build && funnel guide open
    """


@guide_command.command("build")
@json_option
def guide_build(*, as_json: bool) -> int:
    """Build the PDF, the HTML edition and the page list; the last good ones stay when anything is wrong.

    \b
    Example:  funnel guide build
    """
    funnel = the_funnel()
    built = funnel.build_guide()
    if as_json:
        print_json(built)
    else:
        size = built.pdf.stat().st_size
        say(f"{built.pages} pages, {size / 1e6:.1f} MB, in {built.seconds:.1f} s: {built.pdf}")
    return 0


@guide_command.command("check")
@json_option
def guide_check(*, as_json: bool) -> int:
    """Check the guide: pages, accessibility, links, reading grade, sources, words it must not use.

    \b
    Example:  funnel guide check
    Exit:     0 good or warnings only, 1 errors
    """
    from funnel.guide import check

    funnel = the_funnel()
    out = funnel.config.path(funnel.config.guide.output)
    findings = check(funnel.config.path(funnel.config.content.guide), funnel.guide_settings, out)
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            say(f"{finding.level}: {finding}")
        say("The guide is good." if not findings else f"{many(len(findings), 'finding', 'findings')}.")
    return 1 if any(finding.level is Level.ERROR for finding in findings) else 0


@guide_command.command("open")
def guide_open() -> int:
    """Open the built PDF.

    \b
    Example:  funnel guide open
    """
    funnel = the_funnel()
    pdf = funnel.config.path(funnel.config.guide.output) / "guide.pdf"
    if not pdf.exists():
        say("The guide has not been built yet: run “funnel guide build”.")
        return 1
    open_file(pdf)
    return 0


@guide_command.command("sheet")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("build/guide/sheet.png"), show_default=True, help="The file."
)
@click.option("--pages", default="", metavar="LIST", help="Only these, like 1,36-37; else all.")
@click.option("--ppi", type=click.IntRange(20, 200), default=40, show_default=True, help="Dots per inch.")
def guide_sheet(out: Path, *, pages: str, ppi: int) -> int:
    """Draw all pages side by side in one PNG picture.

    \b
    Example:  funnel guide sheet --pages 1,36-37 --out spread.png --ppi 70
    """
    from funnel.guide.sheet import sheet

    funnel = the_funnel()
    wanted = _numbers(pages)
    source = funnel.config.path(funnel.config.content.guide)
    picture = sheet(source, funnel.guide_settings, pages=wanted, columns=min(12, len(wanted) or 12), ppi=ppi)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_new(out, picture, force=True)
    say(f"{many(len(wanted), 'page', 'pages') if wanted else 'All pages'} drawn: {out}")
    return 0


def _numbers(text: str) -> list[int]:
    """Return "1,36-37" as numbers; raises UsageError."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, dash, last = part.partition("-")
        if not (first.strip().isdigit() and (last.strip().isdigit() or not dash)):
            raise click.UsageError(f"--pages takes numbers like 1,36-37, not “{text}”.")
        found += range(int(first), int(last or first) + 1)
    return found


# --- the article -------------------------------------------------------------------------------


@click.group("article")
def article_command() -> None:
    """From an article to a series of mails.

    \b
    Example:  funnel article sections article.md
    """


def _text(file: Path) -> str:
    """Return the text of an article file; raises ArticleError."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise ArticleError(f"{file.name} cannot be read: {error.strerror}.") from None
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ArticleError(f"{file.name} is not a text file; save it as UTF-8 text, Markdown or HTML.")


@article_command.command("sections")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--remember", is_flag=True, help="Keep the ids beside the file, so that they last.")
@json_option
def article_sections(file: Path, *, remember: bool, as_json: bool) -> int:
    """List the sections of an article in FILE: Markdown, a saved web page, or text copied from a browser.

    \b
    Example:  funnel article sections emails/article.md
    """
    from funnel.article import read_article, read_memory, write_memory

    article = read_article(_text(file), name=file.name, remembered=read_memory(file))
    if remember:
        write_memory(file, article)
    if as_json:
        print_json(article)
        return 0
    say(f"{article.title} ({article.format})\n")
    rows = [(s.id, "  " * (s.level - 2) + s.heading, s.words, s.hash[:8]) for s in article.sections]
    table(["id", "heading", "words", "hash"], rows)
    for aside in article.asides:
        say(f"kept apart, {aside.kind}: {aside.text[:70]}")
    return 0


@article_command.command("draft")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--into", "folder", required=True, type=click.Path(path_type=Path), help="Folder for the new mails.")
@click.option("--link", "link", default="", metavar="URL", help="The article's address; else content.article_url.")
def article_draft(file: Path, *, folder: Path, link: str) -> int:
    """Write one mail for each section of FILE, and their sequence; a mail somebody edited is never touched.

    \b
    Example:  funnel article draft article.md --into emails/series
    """
    from funnel.article import read_article, read_memory
    from funnel.drafts import write_drafts

    base = link or the_funnel().config.content.article_url
    article = read_article(_text(file), name=file.name, remembered=read_memory(file))
    for line in write_drafts(article, folder, base):
        say(line)
    say("These are drafts: read each, give it a subject that names no condition, and see that every caution is whole.")
    return 0


@article_command.command("diff")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def article_diff(file: Path, *, as_json: bool) -> int:
    """Say what an edit of FILE changed since its ids were remembered, and which mails were drawn from it.

    \b
    Example:  funnel article diff emails/article.md
    """
    from funnel.article import diff_articles, read_article, read_memory

    remembered = read_memory(file)
    if not remembered:
        say(f"Nothing is remembered of {file.name}: before an edit run “funnel article sections {file} --remember”.")
        return 1
    article = read_article(_text(file), name=file.name, remembered=remembered)
    changes = [change for change in diff_articles(remembered, article) if change.kind != "unchanged"]
    mails = the_funnel().library.mails.values()
    touched = {c.id: [f"{m.sequence}/{m.name}" for m in mails if m.section == c.id] for c in changes}
    if as_json:
        print_json([{"section": c.id, "change": c.kind, "mails": touched[c.id]} for c in changes])
    elif changes:
        table(["section", "change", "mails to read again"], [(c.id, c.kind, ", ".join(touched[c.id])) for c in changes])
    else:
        say("Nothing changed.")
    return 0
