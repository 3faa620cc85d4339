"""Where the sample mails, guide and settings are. Reads nothing in them and copies nothing."""

from __future__ import annotations

from pathlib import Path

from funnel.errors import ConfigError

#: What a sample folder holds; a funnel folder holds the same.
FOLDERS = ("emails", "guide")
SETTINGS = "funnel.toml"


def sample_folder() -> Path:
    """Return the folder with the sample ``emails/``, ``guide/`` and ``funnel.toml``.

    A wheel carries them inside the package; a checkout has them beside it. Raises ConfigError when neither is there.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "sample", package.parent):
        if _is_whole(folder):
            return folder
    raise ConfigError(
        f"The sample mails, guide and settings are missing: neither {package / 'sample'} nor {package.parent} "
        f"holds {', '.join(FOLDERS)} and {SETTINGS}. Install funnel again, or name a folder of your own."
    )


def _is_whole(folder: Path) -> bool:
    return (folder / SETTINGS).is_file() and all((folder / name).is_dir() for name in FOLDERS)
