"""The one place that talks HTTP: time-outs, retries, the key, JSON whose numbers keep the vendor's text.

What an answer means is the vendor module's knowledge; it passes a `classify` and a `read` function. Both tell `http`
to try again by raising Retry, and end the call by raising a SourceError.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import requests
from pydantic import SecretStr

from stock_weather_pipeline.errors import PermanentSourceError, TransientSourceError
from stock_weather_pipeline.sources.quota import Quota

T = TypeVar("T")

SANDBOX_HEADER = "X-Stock-Weather-Sandbox"
TRIES = 5
# A vendor that counts calls per minute refuses everything until the minute is over.
RATE_LIMIT_PAUSE_S = 60.0
MAX_PAUSE_S = 300.0
_BACKOFF_S = 1.0
_MAX_BACKOFF_S = 30.0
_CONNECT_TIMEOUT_S = 10.0
_READ_TIMEOUT_S = 60.0
_MAX_SHOWN = 300
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

_log = logging.getLogger(__name__)


class Retry(Exception):  # noqa: N818 - a signal between a reader and the client, never shown to a user
    """This answer is worth another try, after `pause_s` seconds without any call to the host if given."""

    def __init__(self, reason: str, pause_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.pause_s = pause_s


@dataclass(frozen=True)
class Answer:
    """One HTTP answer. `body` is None when it is no JSON; `text` is the vendor's own words, safe to show."""

    status: int
    body: Any
    text: str
    location: str
    retry_after_s: float | None
    simulated: bool

    @property
    def told(self) -> str:
        return f"HTTP {self.status}: {self.text}" if self.text else f"HTTP {self.status}"


@dataclass(frozen=True)
class Reply(Generic[T]):
    """What a reader made of a good answer, and the calls it took."""

    value: T
    calls: int
    simulated: bool


def accept_all(_answer: Answer) -> None:
    """The classification of a vendor without peculiarities."""


class HttpClient:
    """GETs JSON from one host. The key travels in the Authorization header, to this host only.

    `url_setting` is the setting that holds `base_url`, named when the host cannot be reached.
    """

    def __init__(
        self,
        base_url: str,
        quota: Quota,
        url_setting: str,
        api_key: SecretStr | None = None,
        classify: Callable[[Answer], None] = accept_all,
        timeout_s: tuple[float, float] = (_CONNECT_TIMEOUT_S, _READ_TIMEOUT_S),
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.host = host_of(base_url)
        self._quota = quota
        self._url_setting = url_setting
        self._key = api_key.get_secret_value() if api_key else ""
        self._classify = classify
        self._timeout_s = timeout_s
        self._session = requests.Session()
        # Passing any `auth` also keeps requests from replacing our header by an entry of ~/.netrc.
        self._session.auth = self._authorise
        # A proxy from the environment cannot reach a server on this machine.
        self._session.trust_env = urlsplit(base_url).hostname not in _LOOPBACK

    def get(self, path: str, params: Mapping[str, str], read: Callable[[Any], T], weight: float = 1.0) -> Reply[T]:
        """`read` of the JSON at `path`. Numbers in it are strings, exactly as the vendor wrote them.

        Raises TransientSourceError after TRIES tries, or what `classify` and `read` raise.
        """
        # Open-Meteo wants its lists with plain commas.
        url = f"{self.base_url}{path}" + (f"?{urlencode(params, safe=',')}" if params else "")
        reason = ""
        for attempt in range(1, TRIES + 1):
            self._quota.acquire(weight)
            outcome = self._try(url, path, read)
            if isinstance(outcome, Reply):
                return Reply(outcome.value, attempt, outcome.simulated)
            reason = outcome.reason
            if attempt < TRIES:
                _log.warning("%s%s: %s; try %d of %d", self.host, path, reason, attempt, TRIES)
                self._wait(outcome, path, attempt)
        raise TransientSourceError(
            f"{self.host}{path} gave no usable answer in {TRIES} tries, last: {reason}; "
            f"check the network and {self._url_setting}, or run this again later."
        )

    def shown(self, text: str) -> str:
        """A stranger's `text` as it may be shown: without the key, in one line, printable, not too long."""
        for secret in {self._key, quote(self._key, safe="")} - {""}:
            text = text.replace(secret, "***")
        # Shortened last, so that no part of a key is left at the end.
        return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))[:_MAX_SHOWN]

    def _wait(self, retry: Retry, path: str, attempt: int) -> None:
        backoff = random.uniform(0.5, 1.0) * min(_MAX_BACKOFF_S, _BACKOFF_S * 2 ** (attempt - 1))
        if retry.pause_s is None:
            self._quota.sleep(backoff)
        elif retry.pause_s <= MAX_PAUSE_S:
            self._quota.pause(max(retry.pause_s, backoff))
        else:
            # Coming back earlier than asked would only be refused again.
            raise TransientSourceError(
                f"{self.host}{path} asked to wait {retry.pause_s:.0f} s ({retry.reason}): run this again then."
            )

    def _try(self, url: str, path: str, read: Callable[[Any], T]) -> Reply[T] | Retry:
        answer = self._send(url)
        if isinstance(answer, Retry):
            return answer
        if 300 <= answer.status < 400:
            target = host_of(self.shown(answer.location)) or "nowhere"
            raise PermanentSourceError(
                f"{self.host}{path} redirects to {target}, which is not followed so that the key stays with this "
                f"host: set {self._url_setting} to the vendor's own URL."
            )
        try:
            self._classify(answer)
            if answer.status == 429:
                raise Retry(answer.told, RATE_LIMIT_PAUSE_S)
            if answer.status == 408 or answer.status >= 500:
                raise Retry(answer.told)
            if answer.status != 200:
                raise PermanentSourceError(
                    f"{self.host}{path} refused the request ({answer.told}): asking again does not help, "
                    f"check what was asked for and {self._url_setting}."
                )
            if answer.body is None:
                raise Retry("HTTP 200 with a body that is not JSON or was cut short")
            return Reply(read(answer.body), 1, answer.simulated)
        except Retry as retry:
            return Retry(retry.reason, retry.pause_s if answer.retry_after_s is None else answer.retry_after_s)

    def _send(self, url: str) -> Answer | Retry:
        # Errors of requests hold the request with its header, so they are turned into text here and go no further.
        problem = ""
        try:
            with self._session.get(url, timeout=self._timeout_s, allow_redirects=False) as response:
                return self._answer(response)
        except requests.Timeout:
            return Retry(f"no answer within {self._timeout_s[1]:g} s")
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError):
            return Retry("the body was cut short")
        except requests.ConnectionError as error:
            problem = self.shown(_innermost(error))
            # A connection heals, a certificate that is not trusted does not.
            if "certificate" not in problem.lower():
                return Retry(f"no connection ({problem})")
        except requests.RequestException as error:
            problem = type(error).__name__
        raise PermanentSourceError(
            f"{self.host} cannot be called ({problem}): check {self._url_setting} and the certificates of this machine."
        )

    def _answer(self, response: requests.Response) -> Answer:
        body = _parse(response.content)
        return Answer(
            status=response.status_code,
            body=body,
            text=self.shown(_vendor_text(body, response)),
            location=response.headers.get("Location", ""),
            retry_after_s=_retry_after_s(response.headers.get("Retry-After"), datetime.now(timezone.utc)),
            simulated=response.headers.get(SANDBOX_HEADER) == "simulated",
        )

    def _authorise(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            # Headers are Latin-1 on the wire; a key with any other letter must end as the vendor's 401, not as a crash.
            request.headers["Authorization"] = f"Bearer {self._key}".encode().decode("latin-1")
        return request


def host_of(url: str) -> str:
    """Host and, if given, port of a URL; empty when it has none or is no URL."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content.decode(), parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError):
        return None


def _vendor_text(body: Any, response: requests.Response) -> str:
    if isinstance(body, dict):
        return next((body[field] for field in ("error", "message", "reason") if isinstance(body.get(field), str)), "")
    if response.status_code == 200 or "html" in response.headers.get("Content-Type", ""):
        return ""
    return response.content.decode(errors="replace")


def _retry_after_s(header: str | None, now: datetime) -> float | None:
    """Seconds, from either form of the header; None when absent or in no known form."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - now).total_seconds())


def _innermost(error: Exception) -> str:
    """`[Errno 111] Connection refused` out of the long text of requests."""
    reason = getattr(error.args[0], "reason", error) if error.args else error
    return str(reason).rsplit(": ", 1)[-1].rstrip("')") or type(error).__name__
