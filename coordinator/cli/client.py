"""The commands' way to a coordinator: HTTP with a token, and errors that say the mend."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import httpx

from amends.coordinator.cli.printing import visible
from amends.coordinator.config import CommandSettings
from amends.coordinator.errors import Declined, Unreachable

Answer: TypeAlias = dict[str, Any]
Params: TypeAlias = Mapping[str, str | int | float | bool | Sequence[str] | None]

TIMEOUT_S: Final = 60.0
CONNECT_S: Final = 5.0
PAGE: Final = 200


class Api:
    """One coordinator's HTTP door. Every method raises Unreachable or Declined."""

    def __init__(self, settings: CommandSettings) -> None:
        self._url = settings.url
        headers = {"Authorization": f"Bearer {settings.token}"} if settings.token else {}
        self._http = httpx.Client(
            base_url=settings.url, headers=headers, timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_S)
        )

    def get(self, path: str, params: Params | None = None) -> Answer:
        """Read something."""
        given = {name: value for name, value in (params or {}).items() if value is not None}
        return self._ask("GET", path, params=given)

    def text(self, path: str, params: Params) -> str:
        """Read something that is no JSON."""
        given = {name: value for name, value in params.items() if value is not None}
        response = self._request("GET", path, params=given)
        if not response.is_success or response.headers.get("Content-Type", "").startswith("application/json"):
            self._read(response)  # Raises what the answer says.
        return response.text

    def post(self, path: str, body: Mapping[str, object]) -> Answer:
        """Do something."""
        return self._ask("POST", path, json=dict(body))

    def send(self, path: str, body: object, headers: Mapping[str, str]) -> Answer:
        """Do something with any JSON as body, `null` too."""
        how = {"Content-Type": "application/json", **headers}
        return self._ask("POST", path, content=json.dumps(body), headers=how)

    def sagas(self, params: Params, rows_max: int) -> Iterator[Answer]:
        """Up to `rows_max` sagas that fit, page by page."""
        return self.pages("/sagas", "sagas", params, rows_max)

    def pages(self, path: str, field: str, params: Params, rows_max: int) -> Iterator[Answer]:
        """Up to `rows_max` rows of a list that has pages; they are in this field of each."""
        cursor: str | None = None
        left = rows_max
        while left > 0:
            page = self.get(path, {**params, "cursor": cursor, "limit": min(PAGE, left)})
            yield from page[field]
            left -= len(page[field])
            cursor = page["next"]
            if cursor is None:
                return

    def close(self) -> None:
        """Let the connection go."""
        self._http.close()

    def _ask(self, method: str, path: str, **how: Any) -> Answer:
        return self._read(self._request(method, path, **how))

    def _request(self, method: str, path: str, **how: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **how)
        except httpx.ConnectError as error:
            raise Unreachable(
                f"no coordinator answers at {self._url} ({error}); start one with `amends coordinator`, "
                f"or set AMENDS_URL to where it is"
            ) from error
        except httpx.TimeoutException as error:
            raise Unreachable(
                f"the coordinator at {self._url} (AMENDS_URL) did not answer in time; look, then repeat"
            ) from error
        except httpx.HTTPError as error:
            raise Unreachable(f"the connection to {self._url} (AMENDS_URL) broke: {error}") from error

    def _read(self, response: httpx.Response) -> Answer:
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict) or not (response.is_success or "message" in body):
            raise Unreachable(
                f"{self._url} (AMENDS_URL) answered {response.status_code} and not as a coordinator does: this is none"
            )
        if response.is_success:
            return body
        # What services send must not steer a terminal; it may be in here.
        code, message = str(body.get("error")), visible(str(body.get("message")))
        if response.status_code == 401:
            message += "; set AMENDS_TOKEN to a secret of the coordinator's AMENDS_TOKENS"
        raise Declined(response.status_code, code, message, body.get("field"))
