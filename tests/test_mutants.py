"""The faults of tests/mutants.py still fit the code, and the script that tries them tells found from missed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests import mutants
from tests.mutants import MUTATIONS, Mutation, Verdict

TOP = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_fits_its_place_and_leaves_python(mutation: Mutation) -> None:
    """The old text stands there exactly once; what comes out differs and can be read."""
    source = mutation.source(TOP)

    assert source != mutation.file(TOP).read_text("utf-8")
    ast.parse(source)


@pytest.mark.parametrize("test", sorted({test for mutation in MUTATIONS for test in mutation.tests}))
def test_the_tests_that_must_notice_are_there(test: str) -> None:
    file, _, name = test.partition("::")

    assert f"def {name}(" in (TOP / file).read_text("utf-8")


def test_each_mutation_has_a_name_of_its_own() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) >= 14


ONE = Mutation("one", "", "return a + b", "return a - b", ("tests/test_sum.py::test_sum",))
OTHERS = (
    ONE,
    Mutation("blind", "", "return a + b", "return b + a", ("tests/test_sum.py::test_sum",)),
    Mutation("stale", "", "return a * b", "return a", ("tests/test_sum.py::test_sum",)),
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a project of one function with one test, which needs no plugin."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for folder in ("funnel", "tests"):
        (tmp_path / folder).mkdir()
    (tmp_path / "funnel" / "__init__.py").touch()
    (tmp_path / "funnel" / "sums.py").write_text("def add(a, b):\n    return a + b\n")
    test = "from funnel.sums import add\n\ndef test_sum():\n    assert add(2, 2) == 4\n"
    (tmp_path / "tests" / "test_sum.py").write_text(test)
    return tmp_path


def test_found_missed_and_gone_are_told_apart(project: Path, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    found = mutants.all_tried(OTHERS, copies, project)

    assert [verdict.word for verdict in found] == ["red", "SURVIVED", "GONE"]
    assert found[0].detail == "test_sum"
    assert "occurs 0 times" in found[2].detail
    assert {path.read_text() for path in copies.rglob("sums.py")} == {(project / "funnel" / "sums.py").read_text()}


def test_tests_that_are_red_anyway_find_nothing(project: Path, tmp_path: Path) -> None:
    (project / "tests" / "test_sum.py").write_text("def test_sum():\n    assert False\n")
    with pytest.raises(SystemExit, match="red without a mutation"):
        mutants.all_tried((ONE,), tmp_path / "copies", project)


@pytest.mark.parametrize(("word", "code"), [("red", 0), ("SURVIVED", 1), ("GONE", 1), ("NO TEST RAN", 1)])
def test_one_that_is_not_found_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], word: str, code: int
) -> None:
    monkeypatch.setattr(mutants, "all_tried", lambda wanted, _: [Verdict(mutation, word) for mutation in wanted])

    assert mutants.main([MUTATIONS[0].name]) == code
    assert MUTATIONS[0].name in capsys.readouterr().out


def test_words_nobody_has_are_a_failure() -> None:
    assert mutants.main(["no such fault"]) == 1
