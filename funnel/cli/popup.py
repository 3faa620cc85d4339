"""Commands about the popup: the line for the clinic's pages, and a look at it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from funnel.cli.output import open_file, say, the_funnel

if TYPE_CHECKING:
    from funnel.config import Site

#: Where each builder takes a line of code, in the words of its menus.
PLACES = {
    "wordpress": (
        "Block theme: Appearance → Editor → Patterns → Footer, add a “Custom HTML” block, paste, save.\n"
        "Other themes: a header-and-footer code plugin, its box for the footer.\n"
        "Then empty the caching plugin, and leave popup.js out of what it minifies, joins or delays."
    ),
    "wix": (
        "Settings → Custom Code → Add Custom Code: paste, “All pages”, “Load code once”, place “Body – end”.\n"
        "Not as an HTML embed: that is a frame, and in a frame the popup stays silent. It needs a premium plan."
    ),
    "squarespace": (
        "Settings → Advanced → Code Injection → Footer: paste, save. It needs a plan with Code Injection,\n"
        "and does not run on the checkout."
    ),
}
ANYWHERE = "Paste it once into every page, anywhere between <head> and </body>."


@click.group("popup")
def popup_command() -> None:
    """The popup for the clinic's own pages: the line to paste, and a look at it.

    \b
    Example:  funnel popup preview --open && funnel popup snippet --wordpress
    """


@popup_command.command("snippet")
@click.option("--wordpress", "place", flag_value="wordpress", help="Say where WordPress takes it.")
@click.option("--wix", "place", flag_value="wix", help="Say where Wix takes it.")
@click.option("--squarespace", "place", flag_value="squarespace", help="Say where Squarespace takes it.")
@click.option("--no-integrity", is_flag=True, help="Without the hash: texts may change, and the line stays good.")
def popup_snippet(*, place: str | None, no_integrity: bool) -> int:
    """Print the line that puts the popup on a page, and say where to paste it.

    The hash in it lets browsers refuse a script that is not the one you saw. It changes with each text and
    setting of the popup and with each new version: restart “funnel serve”, then paste the line again.

    \b
    Example:  funnel popup snippet --wordpress
    """
    from funnel.web.popup import Popup

    funnel = the_funnel()
    popup = Popup(funnel)
    say(popup.snippet(integrity=not no_integrity))
    say(f"\n{PLACES.get(place or '', ANYWHERE)}")
    if not no_integrity:
        say("\nAfter a change of texts, settings or version, paste it anew: the old line then shows nothing.")
        say("To change texts often, use “funnel popup snippet --no-integrity”.")
    for line in _reminders(funnel.config.site, enabled=popup.settings.enabled):
        say(f"\nNote: {line}")
    return 0


def _reminders(site: Site, *, enabled: bool) -> list[str]:
    """Return what would keep the popup from working."""
    found = []
    if not site.allowed_origins:
        found.append(
            "site.allowed_origins in funnel.toml is empty, so no page may show the popup yet. "
            'Name your site: allowed_origins = ["https://www.your-clinic.com"].'
        )
    if not site.base_url.startswith("https:"):
        found.append("site.base_url is the address of this machine only; visitors need https://your-name.")
    if not enabled:
        found.append("popup.enabled is false in funnel.toml: the popup stays away from every page.")
    return found


@popup_command.command("preview")
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("build/popup"), show_default=True,
    help="Where the pages go.",
)  # fmt: skip
def popup_preview(*, show: bool, out: Path) -> int:
    """Write your article as a page with the popup on it, and a bar to switch between its states and devices.

    Nothing is sent from it, and it works without a server.

    \b
    Example:  funnel popup preview --open
    """
    from funnel.web.popup_preview import write_preview

    index = write_preview(the_funnel(), out)
    say(f"The popup, state by state: {index}")
    if show:
        open_file(index)
    return 0
