"""People come by an OpenID provider: with a browser, and with its JWTs."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from joserfc.jwk import RSAKey
from starlette.testclient import TestClient

from mlwarehouse import Warehouse
from mlwarehouse.errors import InvalidInputError
from mlwarehouse.mlflow_api import MlflowStore
from mlwarehouse.server import LogInSettings, create_app, serve
from mlwarehouse.server.oidc import KEYS_AGAIN_S, SESSION_S, LogIn, session_key

from .provider import CLIENT, SECRET, Provider, provider

SEARCH = "/api/2.0/mlflow/experiments/search?max_results=5"
URL = "https://warehouse.example"


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class Site:
    """A server with a log-in, and its provider."""

    def __init__(self, place: Path, found: Provider) -> None:
        self.provider, self.clock = found, Clock()
        self.warehouse = Warehouse(place, committer="off", capture_code=False, durability="os")
        self.warehouse.create()
        access = self.warehouse.access
        for name in ("ada@example.org", "bob@example.org"):
            access.add_user(name)
        access.grant("reader", "ada@example.org")
        access.grant("writer", "group:nlp")
        settings = LogInSettings(found.issuer, CLIENT, SECRET, URL)
        store = MlflowStore(self.warehouse, artifact_root="mlflow-artifacts:")
        self.app = create_app(store, access=access, log_in=LogIn(settings, clock=self.clock), has_tls=True)

    def browser(self) -> TestClient:
        return TestClient(self.app, base_url=URL, follow_redirects=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with provider() as found:
        made = Site(tmp_path_factory.mktemp("log-in") / "wh", found)
        with made.browser():
            yield made


@pytest.fixture(autouse=True)
def ada(site: Site) -> None:
    """The provider's user, for a start."""
    site.provider.claims = {"email": "ada@example.org", "email_verified": True, "groups": ["all", "nlp"]}
    site.provider.lies = {}
    site.clock.ahead = 0


def to_provider(browser: TestClient, first: str = "/login?next=/openapi.json") -> str:
    """Begin to log in, agree at the provider, and say where that sends the browser."""
    begun = browser.get(first)
    assert begun.status_code in (302, 303), begun.text
    sent = httpx.get(begun.headers["Location"], timeout=60)
    assert sent.status_code == 302
    return str(sent.headers["Location"])


def logged_in(site: Site) -> TestClient:
    browser = site.browser()
    done = browser.get(to_provider(browser))
    assert (done.status_code, done.headers.get("Location")) == (303, "/openapi.json"), done.text
    return browser


def test_a_browser_logs_in_and_out(site: Site) -> None:
    browser = site.browser()
    assert browser.get(SEARCH).status_code == 401
    page = browser.get("/openapi.json?x=1", headers={"Accept": "text/html,*/*"})
    assert (page.status_code, page.headers["Location"]) == (303, "/login?next=%2Fopenapi.json")
    back = to_provider(browser, page.headers["Location"])
    assert back.startswith(f"{URL}/login/callback?code=")
    done = browser.get(back)
    assert (done.status_code, done.headers["Location"]) == (303, "/openapi.json")
    cookie = done.headers["Set-Cookie"].lower()
    for word in ("__host-mlwarehouse=", "httponly", "secure", "samesite=lax", "path=/;", f"max-age={SESSION_S}"):
        assert word in cookie
    assert "domain" not in cookie
    assert browser.get(SEARCH).status_code == 200
    # By the group.
    made = browser.post("/api/2.0/mlflow/experiments/create", json={"name": "by a browser"})
    assert made.status_code == 200, made.text
    foreign = browser.post(
        "/api/2.0/mlflow/experiments/create", json={"name": "x"}, headers={"Origin": "https://evil.example"}
    )
    assert foreign.status_code == 403
    assert browser.get("/logout", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    left = browser.get("/logout")
    assert left.headers["Location"].startswith(f"{site.provider.issuer}/leave?client_id=")
    assert browser.get(SEARCH).status_code == 401
    rows = site.warehouse.sql(
        "SELECT actor, action FROM audit WHERE action = 'log in' OR action LIKE '%experiments/create'"
        " ORDER BY recorded_at, writer_seq",
        output_format="arrow",
    ).to_pylist()
    assert [r["actor"] for r in rows] == ["ada@example.org"] * 2


def test_rights_are_those_of_now_and_a_session_ends(site: Site) -> None:
    browser = logged_in(site)
    site.warehouse.access.revoke("writer", "group:nlp")
    site.warehouse.access.state()
    try:
        refused = browser.post("/api/2.0/mlflow/experiments/create", json={"name": "y"})
        assert refused.status_code == 403
        assert browser.get(SEARCH).status_code == 200
    finally:
        site.warehouse.access.grant("writer", "group:nlp")
        site.warehouse.access.state()
    site.clock.ahead = SESSION_S
    assert browser.get(SEARCH).status_code == 401


def test_a_cookie_that_nobody_signed_says_nothing(site: Site) -> None:
    browser = site.browser()
    text = base64.b64encode(json.dumps({"name": "ada@example.org", "groups": [], "until": 2**40}).encode()).decode()
    for cookie in (text, f"{text}.x.y", "", "null", logged_in(site).cookies["__Host-mlwarehouse"][:-2]):
        browser.cookies.set("__Host-mlwarehouse", cookie)
        assert browser.get(SEARCH).status_code == 401


@pytest.mark.parametrize("where", ["https://evil.example/", "//evil.example", "/\\evil.example", "evil", "/a\nb"])
def test_nobody_is_sent_elsewhere(site: Site, where: str) -> None:
    browser = site.browser()
    begun = browser.get("/login", params={"next": where})
    done = browser.get(httpx.get(begun.headers["Location"], timeout=60).headers["Location"])
    assert (done.status_code, done.headers["Location"]) == (303, "/")


def test_what_came_back_must_be_what_was_asked_for(site: Site) -> None:
    """State and PKCE tie an answer to the browser that asked."""
    mine, theirs = site.browser(), site.browser()
    back = to_provider(mine)
    assert theirs.get(back).status_code == 403
    other = to_provider(theirs)
    code, state = dict(parse_qsl(urlsplit(back).query))["code"], dict(parse_qsl(urlsplit(other).query))["state"]
    # Another's code, given to somebody with a state of their own.
    assert theirs.get("/login/callback", params={"code": code, "state": state}).status_code == 403
    for wrong in ({}, {"code": "x"}, {"state": "x"}, {"error": "access_denied"}, {"code": "x", "state": "y"}):
        answer = site.browser().get("/login/callback", params=wrong)
        assert (answer.status_code, answer.json()["error_code"]) == (403, "PERMISSION_DENIED")
    # A code is good once.
    again = to_provider(mine)
    assert mine.get(again).status_code == 303
    assert mine.get(again).status_code == 403


@pytest.mark.parametrize(
    "lies",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"exp": int(time.time()) - 3600},
        {"email": None},
        {"email": "bob@example.org"},
        {"email": "nobody@example.org", "groups": []},
        {"email_verified": False},
        {"email_verified": None},
        {"email_verified": "true"},
        {"email": "group:nlp"},
        {"email": ["ada@example.org"]},
    ],
    ids=str,
)
def test_an_id_token_must_be_right_in_everything(site: Site, lies: dict[str, Any]) -> None:
    site.provider.lies = lies
    if lies.get("email") == "bob@example.org":
        site.provider.claims["groups"] = "nlp"
    browser = site.browser()
    assert browser.get(to_provider(browser)).status_code == 403
    assert browser.get(SEARCH).status_code == 401


def by_what_is_public(found: Provider, body: str) -> str:
    """A token signed by the public key as if that were a secret."""
    head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": found.key.kid}).encode()).decode().rstrip("=")
    digest = hmac.digest(found.key.as_pem(private=False), f"{head}.{body}".encode(), "sha256")
    return f"{head}.{body}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def test_a_programs_jwt_is_its_name(site: Site) -> None:
    browser = site.browser()

    def status(token: str) -> int:
        return browser.get(SEARCH, headers={"Authorization": f"Bearer {token}"}).status_code

    now, good = int(time.time()), site.provider.token()
    assert status(good) == 200
    head, body, signature = good.split(".")
    for wrong in (
        site.provider.token(key=RSAKey.generate_key(2048)),
        # By what everybody knows, or by nothing.
        by_what_is_public(site.provider, body),
        f"{head}.{body}.",
        f"eyJhbGciOiJub25lIn0.{body}.",
        f"{head}.{body}.{signature[::-1]}",
        site.provider.token(aud="another"),
        site.provider.token(aud=None),
        site.provider.token(iss="https://evil.example"),
        site.provider.token(exp=now - 3600),
        site.provider.token(exp=None),
        site.provider.token(nbf=now + 3600),
        "a.b.c",
        "..",
    ):
        assert status(wrong) == 401, wrong
    assert status(site.provider.token(email_verified=False)) == 403
    assert status(site.provider.token(email="bob@example.org", groups=[])) == 403


def test_a_provider_turns_its_keys_and_strangers_do_not_make_us_ask_for_them(site: Site) -> None:
    browser = site.browser()
    site.clock.ahead = 0
    assert browser.get(SEARCH, headers={"Authorization": f"Bearer {site.provider.token()}"}).status_code == 200
    site.provider.turn_keys()
    site.clock.ahead = KEYS_AGAIN_S + 1
    assert browser.get(SEARCH, headers={"Authorization": f"Bearer {site.provider.token()}"}).status_code == 200
    asked, stranger = site.provider.n_keys_asked, RSAKey.generate_key(2048)
    for _ in range(5):
        headers = {"Authorization": f"Bearer {site.provider.token(key=stranger)}"}
        assert browser.get(SEARCH, headers=headers).status_code == 401
    assert site.provider.n_keys_asked == asked


def test_what_can_not_be_safe_is_refused(tmp_path: Path) -> None:
    for issuer, public in (("http://login.example", URL), ("https://login.example", "http://warehouse.example")):
        with pytest.raises(InvalidInputError, match="https://"):
            LogIn(LogInSettings(issuer, CLIENT, SECRET, public))
    settings = LogInSettings("https://login.example", CLIENT, SECRET, URL)
    with pytest.raises(InvalidInputError, match="--no-auth"):
        serve(Warehouse(tmp_path / "wh"), host="127.0.0.1", port=0, auth=False, log_in=settings, tell=print)


def test_a_provider_that_is_away_or_another_is_said(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "wh", committer="off")
    warehouse.create()
    with provider() as found:
        issuer = found.issuer
        settings = LogInSettings(issuer, CLIENT, SECRET, URL)
        found.issuer = "https://evil.example"
        store = MlflowStore(warehouse, artifact_root="mlflow-artifacts:")
        app = create_app(store, access=warehouse.access, log_in=LogIn(settings))
        with TestClient(app, base_url=URL, follow_redirects=False) as browser:
            assert browser.get("/login").status_code == 400
    with TestClient(create_app(store, access=warehouse.access, log_in=LogIn(settings)), base_url=URL) as browser:
        assert browser.get("/login").status_code == 503


def test_the_key_of_cookies_is_one_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    keys = {session_key(tmp_path) for _ in range(3)}
    assert len(keys) == 1
    assert len(keys.pop()) == 64
    assert (tmp_path / "session.key").stat().st_mode & 0o077 == 0
    assert [p.name for p in tmp_path.iterdir()] == ["session.key"]
