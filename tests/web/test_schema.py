"""The pages against their own description in docs/openapi.json, with what a machine makes up from it (SEC-31)."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from funnel.model import Status
from tests.web.shop import Shop, make_shop

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from schemathesis import Case

FILE = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"
DESCRIPTION: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
OPERATIONS = sorted((path, method) for path, methods in DESCRIPTION["paths"].items() for method in methods)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
#: So many requests are made up for each operation, once as described and once not.
EXAMPLES = 6
MODES = {"as described": schemathesis.GenerationMode.POSITIVE, "not as described": schemathesis.GenerationMode.NEGATIVE}
#: What each page is for, reached by a machine that has what a person has: a link, and a page seen a moment ago.
REACHED = {
    ("/", "get"): 200,
    ("/again", "post"): 303,
    ("/c/{token}", "post"): 200,
    ("/f/{name}", "get"): 200,
    ("/g/{token}", "post"): 200,
    ("/g/{token}/guide.pdf", "get"): 200,
    ("/p/{token}", "post"): 200,
    ("/popup/signup", "post"): 200,
    ("/signup", "post"): 303,
    ("/u/{token}", "post"): 200,
}


class Visitor:
    """What somebody has who came by a mail and looked at the page before."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        ann = shop.join("ann@example.com")
        bob = shop.confirm_token("bob@example.com")
        tokens = {"c": bob, "g": shop.guide_token(ann), "u": shop.stop_token(ann), "p": shop.preferences_token(ann)}
        self.tokens = tokens
        self.keys = {"": shop.funnel.page_key(), "c": shop.funnel.page_key(shop.funnel.request_of(bob))}
        version = re.search(r'"version":\s*"([^"]+)"', shop.client.get("/popup.js").text)
        assert version
        self.version = version[1]
        shop.clock.move(seconds=5)

    def equip(self, case: Case[Any]) -> None:
        """Put into a made-up request what this visitor has."""
        kind = case.path.split("/")[1]
        if "token" in case.path_parameters:
            case.path_parameters["token"] = self.tokens[kind]
        if "name" in case.path_parameters:
            case.path_parameters["name"] = "fig-01.png"
        if isinstance(case.body, dict):
            mine = {"email": "cy@example.com", "version": self.version, "key": self.keys.get(kind, self.keys[""])}
            case.body.update({name: value for name, value in mine.items() if name in case.body})
            case.body.pop("subject", None)


def described(shop: Shop) -> Any:
    """Return the description with the shop behind it; each answer is read to its end and closed, as servers do."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answer = shop.app(environ, start_response)
        try:
            return list(answer)
        finally:
            if hasattr(answer, "close"):
                answer.close()

    schema = schemathesis.openapi.from_dict(DESCRIPTION, config=SchemathesisConfig(seed=1))
    schema.app = app
    return schema


def call(visitor: Visitor, case: Case[Any], *, equipped: bool) -> int:
    """Send one request, hold the answer against the description, and return its status."""
    if equipped:
        visitor.equip(case)
    response = case.call(headers={"Host": "localhost"})
    case.validate_response(response, checks=CHECKS)
    return int(response.status_code)


def statuses(shop: Shop, path: str, method: str, mode: schemathesis.GenerationMode) -> Counter[tuple[bool, int]]:
    """Return how often each status came, for visitors with and without a link."""
    schema = described(shop)
    visitor, found = Visitor(shop), Counter[tuple[bool, int]]()

    @seed(1)
    @settings(max_examples=EXAMPLES, database=None, suppress_health_check=list(HealthCheck))
    @given(schema[path][method].as_strategy(generation_mode=mode), st.booleans())
    def send(case: Case[Any], equipped: bool) -> None:
        found[equipped, call(visitor, case, equipped=equipped)] += 1

    send()
    return found


def trials() -> list[tuple[str, str, str]]:
    """Return each operation with each mode; what takes nothing in cannot be given anything else."""
    takes = {"parameters", "requestBody"}
    return [
        (path, method, mode)
        for path, method in OPERATIONS
        for mode in MODES
        if mode == "as described" or takes & set(DESCRIPTION["paths"][path][method])
    ]


@pytest.mark.parametrize(("path", "method", "mode"), trials())
def test_answers_are_as_described(shop: Shop, path: str, method: str, mode: str) -> None:
    """No 5xx, and no status, type, header or JSON that the description does not name."""
    found = statuses(shop, path, method, MODES[mode])
    assert found
    assert all(code < 500 for _, code in found)
    if mode == "as described" and (path, method) in REACHED:
        reached = {code for equipped, code in found if equipped}
        assert reached & {REACHED[path, method], 206}, found  # a piece of a file is as good as all of it


def test_the_file_names_every_route_and_no_other(shop: Shop) -> None:
    served = {
        (re.sub(r"<(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in shop.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert sorted(served - set(OPERATIONS)) == []
    assert sorted(set(OPERATIONS) - served) == []


def test_operations_are_named_like_the_views(shop: Shop) -> None:
    for rule in shop.app.url_map.iter_rules():
        path = re.sub(r"<(\w+)>", r"{\1}", rule.rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            assert DESCRIPTION["paths"][path][method.lower()]["operationId"] == rule.endpoint


def test_the_check_can_fail(tmp_path: Path) -> None:
    """A status the description does not name is found."""
    shop = make_shop(tmp_path)
    shop.app.view_functions["privacy"] = lambda: ("", 418)
    with pytest.raises(FailureGroup, match="418"):
        statuses(shop, "/privacy", "get", MODES["as described"])


def test_made_up_requests_change_only_what_they_may(shop: Shop) -> None:
    """Without a link nobody is confirmed, stopped or known by a request however made up."""
    visitor = Visitor(shop)
    schema = described(shop)
    for path, method in OPERATIONS:
        if "{token}" not in path:
            continue

        @seed(2)
        @settings(max_examples=5, database=None, suppress_health_check=list(HealthCheck))
        @given(schema[path][method].as_strategy())
        def send(case: Case[Any]) -> None:
            assert call(visitor, case, equipped=False) >= 400

        before = shop.dump()
        send()
        assert shop.dump() == before, (method, path)
    assert shop.person("bob@example.com").status is Status.PENDING
