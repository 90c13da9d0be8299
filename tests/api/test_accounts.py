"""Registration, login, API tokens."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from jose import jwt

from api.credentials import ACCESS_AUDIENCE, API_TOKEN_PREFIX, INVITE_AUDIENCE, ApiToken, digest_of
from api.services.accounts import ensure_admin
from db.ids import new_id
from db.repositories import tokens, users
from db.repositories.transactions import read, write
from tests.api.conftest import SECRET_KEY, Serve, Served

pytestmark = pytest.mark.anyio

TESTUSER = {"username": "testuser", "email": "test@example.com", "password": "password123"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def log_in(served: Served, username: str = "testuser", password: str = "password123") -> str:
    form = {"username": username, "password": password}
    response = await served.http.post("/v1/auth/token", data=form)
    assert response.status_code == 200, response.text
    return response.json()["access_token"]


@pytest.mark.slow
async def test_the_originals_curl_lines_register_and_log_in(served: Served) -> None:
    registered = await served.http.post("/v1/auth/register", json=TESTUSER)
    assert registered.status_code == 201
    assert registered.json().keys() == {"id", "username", "email", "role", "created_at"}
    assert registered.json()["role"] == "user"

    response = await served.http.post(
        "/v1/auth/token",
        content="username=testuser&password=password123",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    token = response.json()
    assert response.status_code == 200
    assert token["token_type"] == "bearer"
    assert token["expires_in"] == 12 * 3600

    me = await served.http.get("/v1/auth/me", headers=bearer(token["access_token"]))
    assert me.json() == registered.json()


@pytest.mark.slow
async def test_an_access_token_says_who_since_when_until_when_and_what_for(served: Served) -> None:
    account = (await served.http.post("/v1/auth/register", json=TESTUSER)).json()
    claims = jwt.get_unverified_claims(await log_in(served))
    assert claims.keys() == {"sub", "iat", "exp", "aud"}
    assert claims["sub"] == account["id"]
    assert claims["exp"] - claims["iat"] == 12 * 3600


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"username": "-x"}, "username"),
        ({"username": "a" * 40}, "username"),
        ({"username": "a b"}, "username"),
        ({"username": "x\n"}, "username"),
        ({"password": "short"}, "password"),
        ({"password": "x" * 257}, "password"),
        ({"email": "nobody"}, "email"),
        ({"email": "a@b\0.example"}, "email"),
        ({"role": "admin"}, "role"),
    ],
)
async def test_a_registration_that_does_not_fit_names_the_field(
    served: Served, change: dict[str, str], field: str
) -> None:
    response = await served.http.post("/v1/auth/register", json={**TESTUSER, **change})
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert "password123" not in response.text


@pytest.mark.slow
async def test_names_and_addresses_are_unique_whatever_their_case(served: Served) -> None:
    await served.http.post("/v1/auth/register", json=TESTUSER)
    for change, fields in [
        ({"email": "other@example.com", "username": "TestUser"}, ["username"]),
        ({"email": "Test@Example.com", "username": "other"}, ["email"]),
        ({}, ["username", "email"]),
    ]:
        response = await served.http.post("/v1/auth/register", json={**TESTUSER, **change})
        assert response.status_code == 409
        assert [error["field"] for error in response.json()["errors"]] == fields


async def test_a_name_that_owns_models_cannot_be_registered_by_somebody_else(served: Served) -> None:
    body = {"name": "echo", "owner": "Demo", "model_type": "echo", "model_path": "-"}
    created = await served.http.post("/v1/models", json=body, headers=await served.admin())
    assert created.status_code == 201
    response = await served.http.post("/v1/auth/register", json={**TESTUSER, "username": "demo"})
    assert response.status_code == 409


async def test_a_closed_registration_is_closed(serve: Serve) -> None:
    async with serve(registration="closed") as served:
        response = await served.http.post("/v1/auth/register", json=TESTUSER)
        assert response.status_code == 403


@pytest.mark.slow
async def test_an_invitation_lets_one_person_in(serve: Serve) -> None:
    async with serve(registration="invite") as served:
        admin = await served.admin()
        user = await served.person("mallory")
        assert (await served.http.post("/v1/auth/invites", json={}, headers=user)).status_code == 403
        invite = (await served.http.post("/v1/auth/invites", json={}, headers=admin)).json()["invite"]

        async def register(name: str, invitation: str | None) -> int:
            body = {"username": name, "email": f"{name}@example.com", "password": "password123"}
            response = await served.http.post("/v1/auth/register", json={**body, "invite": invitation})
            return response.status_code

        assert await register("ann", None) == 403
        assert await register("ann", "nonsense") == 403
        assert await register("ann", invite) == 201
        assert await register("bob", invite) == 403
        # An invitation is no access token, and an access token no invitation.
        assert (await served.http.get("/v1/auth/me", headers=bearer(invite))).status_code == 401
        assert await register("bob", await log_in(served, "ann")) == 403


@pytest.mark.slow
async def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(served: Served) -> None:
    await served.http.post("/v1/auth/register", json=TESTUSER)
    answers = []
    for form in ({"username": "testuser", "password": "wrong"}, {"username": "nobody", "password": "wrong"}):
        response = await served.http.post("/v1/auth/token", data=form)
        answers.append((response.status_code, response.json()["detail"]))
        assert response.headers["WWW-Authenticate"] == "Bearer"
    assert answers[0] == answers[1] == (401, "the user name or the password is wrong")


@pytest.mark.slow
async def test_somebody_without_an_account_costs_a_login_the_same_work(served: Served) -> None:
    passwords = served.gateway.passwords
    stored = await passwords.hash("password123")
    await passwords.verify("x", None)

    async def seconds(password_hash: str | None) -> float:
        started = time.process_time()
        await passwords.verify("wrong", password_hash)
        return time.process_time() - started

    known = min([await seconds(stored) for _ in range(3)])
    unknown = min([await seconds(None) for _ in range(3)])
    assert 0.5 < unknown / known < 2


def claims(**changes: object) -> dict[str, object]:
    now = int(time.time())
    return {"sub": "x" * 26, "aud": ACCESS_AUDIENCE, "iat": now, "exp": now + 60, **changes}


@pytest.mark.parametrize(
    "token",
    [
        jwt.encode(claims(exp=int(time.time()) - 60), SECRET_KEY, algorithm="HS256"),
        jwt.encode(claims(), "another key, which is long enough too", algorithm="HS256"),
        jwt.encode(claims(), SECRET_KEY, algorithm="HS512"),
        jwt.encode(claims(aud=INVITE_AUDIENCE), SECRET_KEY, algorithm="HS256"),
        *(
            jwt.encode(
                {name: value for name, value in claims().items() if name != left_out},
                SECRET_KEY,
                algorithm="HS256",
            )
            for left_out in ("sub", "aud", "iat", "exp")
        ),
        jwt.encode(claims(), SECRET_KEY, algorithm="HS256"),  # of no account
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.",
        "not.a.token",
        "…",
        API_TOKEN_PREFIX + "x" * 43,
    ],
)
async def test_a_token_that_is_not_right_is_refused(served: Served, token: str) -> None:
    headers = {b"Authorization": f"Bearer {token}".encode()}
    response = await served.http.get("/v1/auth/me", headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "aug_token"])
async def test_a_header_without_a_token_is_refused(served: Served, header: str) -> None:
    response = await served.http.get("/v1/auth/me", headers={"Authorization": header})
    assert response.status_code == 401


async def test_an_api_token_is_shown_once_and_serves_until_it_is_revoked(served: Served) -> None:
    owner = await served.person("ann")
    created = await served.http.post("/v1/auth/tokens", json={"name": "ci"}, headers=owner)
    assert created.status_code == 201
    token = created.json()
    assert token["token"].startswith("aug_")
    assert len(token["token"]) == 4 + 43
    assert token["token"].startswith(token["hint"])

    for scheme in ("Bearer", "bearer", "Token", "TOKEN"):
        headers = {"Authorization": f"{scheme} {token['token']}"}
        assert (await served.http.get("/v1/auth/me", headers=headers)).json()["username"] == "ann"

    listed = (await served.http.get("/v1/auth/tokens", headers=owner)).json()["results"]
    assert listed[0] == {name: token[name] for name in ("id", "name", "hint", "created_at", "expires_at")}
    assert token["token"] not in str(listed)

    stranger = await served.person("bob")
    url = f"/v1/auth/tokens/{token['id']}"
    assert (await served.http.delete(url, headers=stranger)).status_code == 404
    assert (await served.http.delete(url, headers=owner)).status_code == 204
    assert (await served.http.delete(url, headers=owner)).status_code == 404
    # At once, although it was remembered from a moment ago.
    assert (await served.http.get("/v1/auth/me", headers=headers)).status_code == 401


@pytest.mark.slow
async def test_a_token_revoked_at_one_gateway_ends_at_another_within_the_caches_time(serve: Serve) -> None:
    async with serve() as one, serve(token_cache_seconds=0.2) as other:
        owner = await one.person("ann")
        token = (await one.http.post("/v1/auth/tokens", json={"name": "ci"}, headers=owner)).json()
        headers = bearer(token["token"])
        assert (await other.http.get("/v1/auth/me", headers=headers)).status_code == 200
        await one.http.delete(f"/v1/auth/tokens/{token['id']}", headers=owner)
        deadline = time.monotonic() + 5
        while (await other.http.get("/v1/auth/me", headers=headers)).status_code == 200:
            assert time.monotonic() < deadline


@pytest.mark.slow
async def test_a_remembered_token_does_not_outlive_its_own_end(serve: Serve) -> None:
    async with serve(token_cache_seconds=60) as served:
        await served.person("ann")
        engine = served.gateway.engine
        ann = await read(engine, lambda session: users.by_username(session, "ann"))
        assert ann is not None
        token = ApiToken.new()
        ends = datetime.now(UTC) + timedelta(seconds=1)
        async with write(engine) as session:
            await tokens.add(
                session, tokens.NewToken(new_id(), ann.id, "brief", token.hint, token.digest, ends)
            )
        assert (await served.http.get("/v1/auth/me", headers=bearer(token.text))).status_code == 200
        assert served.gateway.credentials.remembered(token.text) is not None
        await asyncio.sleep((ends - datetime.now(UTC)).total_seconds())
        assert (await served.http.get("/v1/auth/me", headers=bearer(token.text))).status_code == 401


async def test_the_database_keeps_no_token_and_the_memory_no_text(served: Served) -> None:
    headers = await served.person("ann")
    await served.http.get("/v1/auth/me", headers=headers)
    text = headers["Authorization"].removeprefix("Bearer ")
    assert text not in repr(served.gateway.credentials.__dict__)
    assert text not in repr(served.gateway.credentials._cache.__dict__)


@pytest.mark.slow
async def test_the_first_administrator_gets_a_token_and_gets_in_again_after_losing_it(served: Served) -> None:
    engine = served.gateway.engine
    first = await ensure_admin(
        engine, username="admin", email="admin@localhost", password="first-password", token_name="up"
    )
    me = (await served.http.get("/v1/auth/me", headers=bearer(first))).json()
    assert (me["username"], me["role"]) == ("admin", "admin")
    assert await log_in(served, "admin", "first-password")

    second = await ensure_admin(
        engine, username="admin", email="admin@localhost", password="second-password", token_name="up"
    )
    assert (await served.http.get("/v1/auth/me", headers=bearer(second))).json() == me
    assert await log_in(served, "admin", "second-password")
    assert await read(engine, lambda session: tokens.holder(session, digest_of(first))) is None
