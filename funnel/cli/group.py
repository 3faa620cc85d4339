"""The group of all commands, loaded one at a time, and the one place where errors become sentences."""

from __future__ import annotations

import errno
import re
import sys
from importlib import import_module
from io import TextIOWrapper
from typing import TYPE_CHECKING

import click

from funnel import __version__
from funnel.errors import FunnelError, OutOfMemoryError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Command, the module it lives in, and its line of help; modules are imported when a command is called.
COMMANDS = {
    "init": ("setup", "Make a new funnel: settings, keys, database, sample mails and guide."),
    "demo": ("setup", "Run the whole funnel on a sample clinic and a virtual clock."),
    "check": ("setup", "Check settings, mails, guide and gifts before anything goes out."),
    "doctor": ("doctor", "Look at the world around: files, cron, mail server, web address, DNS."),
    "serve": ("setup", "Serve the form and the pages a subscriber touches."),
    "send": ("sending", "Send what is due now; cron's command."),
    "preview": ("sending", "Show a mail as it will look: html, text and raw."),
    "test": ("sending", "Send a marked copy of a mail to yourself; nothing is recorded."),
    "outbox": ("outbox", "Mail that is deferred, held or of unknown fate."),
    "bounces": ("sending", "Take in bounce messages."),
    "why": ("people", "Why one person got, or did not get, a mail."),
    "subscribers": ("people", "Add, list, import, export, unsubscribe and erase people."),
    "gift": ("desk", "Redeem a gift code, look one up, or import codes of your own."),
    "article": ("content", "From an article to a series of mails."),
    "guide": ("content", "Build, check and open the guide."),
    "popup": ("popup", "The popup for your own pages: the line to paste, and a look at it."),
    "backup": ("keeping", "Write a whole copy of the database, while everything goes on."),
    "restore": ("keeping", "Put a backup in place, and settle what went out since."),
    "report": ("figures", "What happened, in figures that add up."),
}


#: What a full or failing disk says, also about a file that was opened long before.
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}


class LazyGroup(click.Group):
    """A group that knows its commands' names and help without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of a working day."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one command, importing its module."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"funnel.cli.{COMMANDS[cmd_name][0]}")
        command = getattr(module, f"{cmd_name}_command")
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="funnel")
@click.option("--config", metavar="FILE", help="Settings file; else FUNNEL_CONFIG, else ./funnel.toml.")
@click.pass_context
def group(ctx: click.Context, config: str | None) -> None:
    """The whole life of a lead: popup, confirmation, guide, gift and an honest series of mails.

    \b
    Start:        funnel init shop --defaults && cd shop && funnel check
    Every day:    funnel report · funnel why ann@clinic.example · funnel gift redeem CODE
    Cron:         * * * * *  cd /srv/shop && funnel send --quiet
    """
    ctx.obj = config


def complain(text: str) -> None:
    """Print one line to standard error; what stands in data never controls a terminal (SEC-33)."""
    from funnel.cli.output import safe

    click.echo(safe(text), err=True)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; what a person can mend is one sentence, never a traceback."""
    _speak_utf8()
    try:
        result = group.main(args=list(arguments), prog_name="funnel", standalone_mode=False)
    except FunnelError as error:
        return _told(error)
    except MemoryError:
        return _told(OutOfMemoryError())
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 2
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:
        why = _of_the_disk(error)
        if not why:
            raise
        complain(f"Error: {why}.")
        return 1
    return result if isinstance(result, int) else 0


def _told(error: FunnelError) -> int:
    complain(f"{'Error: ' if error.exit_code else ''}{error}")
    return error.exit_code


def _speak_utf8() -> None:
    """Write UTF-8, whatever the locale: names, JSON and the lines of tables have signs that Latin-1 has not."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # there is none where it was closed from the start
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _of_the_disk(error: OSError) -> str:
    """Return which file the system did not let us have and why, or nothing when it is not about one."""
    if error.errno is None and error.args and isinstance(error.args[0], list):  # of a folder that was being copied
        _, target, words = error.args[0][0]
        reason = re.search(r"\] ([^:]+)", words)
        return f"{target}: {reason[1] if reason else words}"
    if error.filename is None and error.errno not in DISK:
        return ""
    return f"{error.filename or 'while writing'}: {error.strerror}"
