"""Talks to a running Augury over HTTP, as any client does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from cli.errors import Fault


class ServerUnreachable(Fault):
    """Nobody answers at the server's address."""


class RequestRefused(Fault):
    """The server understood the request and said no; the message says why."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        super().__init__(f"The server refused ({self.status}): {_reason(response)}")


def _reason(response: httpx.Response) -> str:
    """What a problem document says (RFC 9457), fields included."""
    try:
        problem = response.json()
        detail = str(problem.get("detail") or problem.get("title"))
        fields = [f"{error['field']}: {error['message']}" for error in problem.get("errors", [])]
    except (ValueError, KeyError, TypeError, AttributeError):
        return response.text[:500] or response.reason_phrase
    return "; ".join([detail, *fields])


class Client:
    """A session with the server at `url`, with the rights of `token`. Close it, or use it in a `with`."""

    def __init__(self, url: str, token: str | None = None, *, timeout_seconds: float = 90) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url, headers=headers, timeout=timeout_seconds, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def _call(self, method: str, path: str, **options: Any) -> Any:
        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise ServerUnreachable(f"No server answers at {self.url}: {error}") from error
        if response.is_error:
            raise RequestRefused(response)
        return response.json() if response.content else None

    def is_ready(self) -> bool:
        """Whether `/ready` answers 200."""
        try:
            return self._http.get("/ready", timeout=5).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def readiness(self) -> dict[str, Any]:
        """What `/ready` says, ready or not. Raises ServerUnreachable."""
        try:
            answer: dict[str, Any] = self._http.get("/ready", timeout=5).json()
        except (httpx.TransportError, ValueError) as error:
            raise ServerUnreachable(f"No server answers at {self.url}: {error}") from error
        return answer

    def me(self) -> dict[str, Any]:
        """The account that the token belongs to."""
        account: dict[str, Any] = self._call("GET", "/v1/auth/me")
        return account

    def log_in(self, username: str, password: str) -> str:
        """A bearer token for the account."""
        answer = self._call("POST", "/v1/auth/token", data={"username": username, "password": password})
        return str(answer["access_token"])

    def create_token(self, name: str) -> str:
        """A new API token, which the server shows only now."""
        return str(self._call("POST", "/v1/auth/tokens", json={"name": name})["token"])

    def models(self) -> Iterator[dict[str, Any]]:
        """Every model that the token may see, page after page."""
        page: str | None = "/v1/models"
        while page:
            answer = self._call("GET", page)
            yield from answer["results"]
            page = answer["next"]

    def model(self, name: str) -> dict[str, Any]:
        """The model `owner/name`."""
        found: dict[str, Any] = self._call("GET", f"/v1/models/{name}")
        return found

    def state(self, name: str, version: str | None = None) -> dict[str, Any]:
        """Whether a version, else the latest one, is in memory."""
        path = f"/v1/models/{name}" + (f"/versions/{version}" if version else "")
        state: dict[str, Any] = self._call("GET", path)["state"]
        return state

    def load(self, name: str, *, version: str | None = None, lanes: int = 1) -> dict[str, Any]:
        """Have so many lanes load a version, else the latest one; its state now."""
        body = {"version": version, "lanes": lanes}
        state: dict[str, Any] = self._call("POST", f"/v1/models/{name}/load", json=body)
        return state

    def unload(self, name: str, *, version: str | None = None) -> dict[str, Any]:
        """Have all lanes let go of a version, else of the latest one; its state now."""
        state: dict[str, Any] = self._call("POST", f"/v1/models/{name}/unload", json={"version": version})
        return state

    def lanes(self) -> list[dict[str, Any]]:
        """The lanes that are alive; none for those who may not look at them."""
        try:
            lanes: list[dict[str, Any]] = self._call("GET", "/v1/lanes")["results"]
        except RequestRefused as error:
            if error.status == httpx.codes.FORBIDDEN:
                return []
            raise
        return lanes

    def delete_model(self, name: str) -> None:
        """Delete the model `owner/name` and its versions."""
        self._call("DELETE", f"/v1/models/{name}")

    def add_model(self, model: Mapping[str, Any]) -> dict[str, Any]:
        """Register a model, or another version of it."""
        added: dict[str, Any] = self._call("POST", "/v1/models", json=dict(model))
        return added

    def predict(self, model: str, input: Mapping[str, Any], *, wait_seconds: int) -> dict[str, Any]:
        """Create a prediction and wait for its end at most so long."""
        prediction: dict[str, Any] = self._call(
            "POST",
            "/v1/predictions",
            json={"model": model, "input": dict(input)},
            headers={"Prefer": f"wait={wait_seconds}"} if wait_seconds else {},
        )
        return prediction

    def prediction(self, prediction_id: str) -> dict[str, Any]:
        """A prediction as it is now."""
        found: dict[str, Any] = self._call("GET", f"/v1/predictions/{prediction_id}")
        return found
