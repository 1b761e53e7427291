"""What can go wrong with a download, in words that say what to do about it."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from huggingface_hub import constants, get_session
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from backend.app.workers.hub_layout import BadName, Want
from backend.app.workers.hub_protocol import GATED_SCOPE, size_of

http: Any = importlib.import_module(type(get_session()).__module__.partition(".")[0])
"""The HTTP library that huggingface_hub is built on: httpx2 today, httpx before 2.0."""

MAX_RETRY_AFTER_S = 86_400.0
WHOAMI_S = 10.0


class Failure(Exception):
    """The download cannot go on. `code` is for programs, the message for people."""

    def __init__(self, code: str, message: str, url: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.url = url


class Retry(Exception):
    """An attempt failed, another may not. `wait` is what the Hub asks for, in seconds."""

    def __init__(
        self, reason: str, wait: float | None = None, *, code: str = "hub_unreachable"
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait
        self.code = code
        """What it becomes when no further attempt helps: this or `download_stalled`."""


def endpoint_of(endpoint: str | None) -> str:
    return (endpoint or constants.ENDPOINT).rstrip("/")


def authorization(token: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"} if token else {}


def shown(url: str) -> str:
    """A URL without user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def stopped() -> Failure:
    return Failure("stopped", "The download was stopped.")


def disk_full(exc: OSError, cache_dir: str) -> Failure:
    what = "a file may not grow any larger" if exc.errno == errno.EFBIG else "no space is left"
    return Failure(
        "disk_full",
        f"The disk of {cache_dir} is full: {what}. What has arrived is kept; free some space and"
        " download again.",
    )


def cache_unusable(exc: OSError, cache_dir: str) -> Failure:
    place = exc.filename2 or exc.filename
    where = f"{os.fsdecode(place)} in {cache_dir}" if isinstance(place, (str, bytes)) else cache_dir
    damaged = isinstance(exc, (IsADirectoryError, NotADirectoryError, FileExistsError))
    cure = " It is not what belongs there: remove it and download again." if damaged else ""
    return Failure("cache_unusable", f"{where} cannot be used: {exc.strerror}.{cure}")


def disk_needed(cache_dir: str, missing: int, free: int, reserve: int) -> Failure:
    return Failure(
        "disk_full",
        f"{size_of(missing)} are to be downloaded to {cache_dir}, where {size_of(free)} are free"
        f" and {size_of(reserve)} are to stay so. Free some space or choose another"
        " MODEL_CACHE_DIR.",
    )


def disk_low(cache_dir: str, free: int, reserve: int) -> Failure:
    return Failure(
        "disk_full",
        f"Only {size_of(free)} are left on the disk of {cache_dir}, of which {size_of(reserve)} are"
        " to stay free. What has arrived is kept; free some space and download again.",
    )


def network_retry(exc: BaseException) -> Retry:
    """What a network error means, without addresses that may carry signatures."""
    if isinstance(exc, http.ConnectTimeout):
        return Retry("no connection could be made in time")
    if isinstance(exc, http.ConnectError):
        return Retry(f"no connection could be made ({exc})")
    if isinstance(exc, http.ProxyError):
        return Retry("the proxy refused")
    if isinstance(exc, http.TimeoutException):
        return Retry("no byte came in time", code="download_stalled")
    return Retry("the connection broke off", code="download_stalled")


def retry_after(response: Any) -> float | None:
    """Seconds that a 429 or 503 asks for, in either form of the header."""
    value = response.headers.get("retry-after", "").strip()
    if value.isdigit():
        return min(float(value), MAX_RETRY_AFTER_S)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    now = parsedate_to_datetime(response.headers["date"]) if "date" in response.headers else None
    return max(0.0, (date - now).total_seconds()) if now else None


class Explainer:
    """Turns what huggingface_hub raises into `Retry` or `Failure`."""

    def __init__(self, endpoint: str | None, token: str | None) -> None:
        self._endpoint = endpoint_of(endpoint)
        self._token = token

    def unreachable(self, reason: str) -> Failure:
        return Failure(
            "hub_unreachable",
            f"Nothing could be had from {shown(self._endpoint)}: {reason}. Check the network,"
            " HF_ENDPOINT and the proxy variables, or try again later.",
        )

    def __call__(self, exc: BaseException, want: Want) -> BaseException:
        if isinstance(exc, (Retry, Failure)):
            return exc
        if isinstance(exc, OfflineModeIsEnabled):
            return self.unreachable("HF_HUB_OFFLINE is set")
        if isinstance(exc, HfHubHTTPError):
            return self._answered(exc, want)
        if isinstance(exc, http.TransportError):
            return network_retry(exc)
        if isinstance(exc, BadName):
            return Failure("bad_repository", f"{want.repo}: {exc}.")
        return exc

    def _answered(self, exc: HfHubHTTPError, want: Want) -> Retry | Failure:
        status = exc.response.status_code
        if isinstance(exc, RevisionNotFoundError):
            return Failure(
                "revision_not_found",
                f"{want.repo} has no revision '{want.revision}'. Name a branch, a tag or a commit.",
                self._page(want),
            )
        if isinstance(exc, DisabledRepoError):
            return Failure(
                "repository_disabled",
                f"{want.repo} is disabled on {shown(self._endpoint)}.",
                self._page(want),
            )
        if isinstance(exc, RemoteEntryNotFoundError):
            return Failure("file_not_found", f"A file of {want.repo} is gone.", self._page(want))
        if status in (401, 403) or isinstance(exc, RepositoryNotFoundError):
            return self._refused(exc, want, status)
        if status == 404:
            return self._not_found(want)
        if status == 429 or status == 408 or status >= 500:
            return Retry(f"the Hub answered {status}", retry_after(exc.response))
        return self.unreachable(f"it answered {status}")

    def _refused(self, exc: HfHubHTTPError, want: Want, status: int) -> Failure:
        """The status alone does not tell a bad token from a licence that was not accepted."""
        said = exc.response.headers.get("x-error-message", "")
        if self._token and self._token_is_bad(said):
            return Failure(
                "invalid_token",
                f"{shown(self._endpoint)} does not know the Hugging Face token, which {want.repo}"
                " was asked for with. Set another one.",
                f"{shown(self._endpoint)}/settings/tokens",
            )
        gated = isinstance(exc, GatedRepoError) or "gated" in said.lower()
        if not gated and (isinstance(exc, RepositoryNotFoundError) or status == 401):
            return self._not_found(want)
        page = self._page(want)
        if not self._token:
            return Failure(
                "gated",
                f"{want.repo} is gated and no Hugging Face token is set. Accept its licence on"
                f" {page}, then set a token of that account.",
                page,
            )
        if "fine-grained" in said or self._lacks_scope():
            return Failure(
                "gated",
                f"{want.repo} is gated and the Hugging Face token lacks the scope '{GATED_SCOPE}'."
                f" Add it on {shown(self._endpoint)}/settings/tokens; the licence is on {page}.",
                page,
            )
        return Failure(
            "gated",
            f"{want.repo} is gated and the account of the Hugging Face token has no access to it."
            f" Accept its licence on {page}, then download again.",
            page,
        )

    def _not_found(self, want: Want) -> Failure:
        token = "the token that is set cannot see it" if self._token else "no token is set"
        return Failure(
            "repository_not_found",
            f"There is no repository {want.repo} on {shown(self._endpoint)}, or it is private and"
            f" {token}.",
            self._page(want),
        )

    def _page(self, want: Want) -> str:
        return f"{shown(self._endpoint)}/{want.repo}"

    def _whoami(self) -> Any:
        """The Hub's answer about the token, None when it gives none."""
        url, headers = f"{self._endpoint}/api/whoami-v2", authorization(self._token)
        with contextlib.suppress(http.HTTPError):
            return get_session().get(url, headers=headers, timeout=WHOAMI_S)
        return None

    def _token_is_bad(self, said: str) -> bool:
        if "Invalid credentials" in said:
            return True
        answer = self._whoami()
        return answer is not None and answer.status_code == 401

    def _lacks_scope(self) -> bool:
        answer = self._whoami()
        try:
            fine = answer.json()["auth"]["accessToken"]["fineGrained"]
            return fine["canReadGatedRepos"] is False
        except (ValueError, KeyError, TypeError, AttributeError):
            return False


def free_bytes(path: str) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
