"""What the wheel carries: the whole program, the samples, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from funnel import __version__, samples
from funnel.errors import ConfigError

TOP = Path(__file__).resolve().parents[1]
#: What a build needs; copied first, so that no build leaves anything in the checkout.
PARTS = ("funnel", "emails", "guide", "funnel.toml", "pyproject.toml", "setup.py", "README.md", "LICENSE")
LISTING = """
from pathlib import Path
from funnel.samples import sample_folder
folder = sample_folder()
assert "site-packages" in folder.parts, folder
print(*sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()), sep="\\n")
"""


def files_in(folder: Path) -> set[str]:
    """Return the files of a folder of the checkout, without what Python or a build left there."""
    inside = (path.relative_to(TOP) for path in (TOP / folder).rglob("*") if path.is_file())
    return {path.as_posix() for path in inside if not any(part.startswith((".", "__p")) for part in path.parts)}


def sample_files() -> set[str]:
    """Return the files every new funnel starts from."""
    return files_in(Path("emails")) | files_in(Path("guide")) | {"funnel.toml"}


def pip(*arguments: str | Path, python: Path = Path(sys.executable)) -> None:
    """Run pip without the network."""
    command = [str(python), "-m", "pip", "--quiet", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the checkout."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in PARTS:
        if (TOP / name).is_dir():
            shutil.copytree(TOP / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(TOP / name, copy / name)
    # A build must not take in what tools leave behind.
    (copy / "emails" / ".draft.md.swp").write_text("left by an editor")
    out = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", out, copy)
    (built,) = out.iterdir()
    return built


def test_the_wheel_carries_program_and_samples_and_no_tests(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    program = files_in(Path("funnel"))
    sample = {f"funnel/sample/{name}" for name in sample_files()}

    assert program | sample == names
    assert len(sample) > 60


def test_the_version_comes_from_one_place(wheel: Path) -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert wheel.name.startswith(f"funnel-{__version__}-")
    assert "version" not in project


def test_an_installed_wheel_finds_its_samples(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    pip("--python", python, "install", "--no-index", "--no-deps", wheel)

    listed = subprocess.run([python, "-I", "-c", LISTING], cwd=tmp_path, capture_output=True, text=True)

    assert listed.returncode == 0, listed.stderr
    assert set(listed.stdout.splitlines()) == sample_files()


def test_a_checkout_is_its_own_sample() -> None:
    assert samples.sample_folder() == TOP


def test_missing_samples_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "funnel"
    package.mkdir()
    monkeypatch.setattr(samples, "__file__", str(package / "samples.py"))

    with pytest.raises(ConfigError, match=r"emails, guide and funnel\.toml"):
        samples.sample_folder()


def test_samples_in_the_package_win_over_what_lies_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "__file__", str(tmp_path / "funnel" / "samples.py"))
    for top in (tmp_path, tmp_path / "funnel" / "sample"):
        (top / "emails").mkdir(parents=True)
        (top / "guide").mkdir()
        (top / "funnel.toml").touch()

    assert samples.sample_folder() == tmp_path / "funnel" / "sample"


def test_the_lock_has_versions_and_hashes_only() -> None:
    lines = [line.strip(" \\") for line in (TOP / "requirements.lock").read_text(encoding="utf-8").splitlines()]
    hashes = [line for line in lines if line.startswith("--hash=sha256:")]
    packages = [line for line in lines if "==" in line]

    assert len(packages) > 40
    assert len(hashes) >= len(packages)
    assert [line for line in lines if line not in hashes + packages and not line.startswith("#")] == []
    assert [line for line in lines if "://" in line] == []
