"""Who may use the API, and how often: bearer tokens and a limit on requests, both off unless asked for."""

import hmac
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from quickstroke.errors import ConfigError
from quickstroke.serve.limits import Refused

# A token that can be guessed is none.
LEAST_TOKEN_LENGTH = 16
# Of so many clients it is remembered how often they asked; who was not heard of for longest is forgotten first.
_MOST_CLIENTS = 10_000
# Without a token: whether the server lives, and how it is asked, say nothing of anybody's drawings.
OPEN = ("/api/v1/healthz", "/api/v1/openapi.json")
# What watches the server comes often, perhaps from where its clients come; it does not count.
_METRICS = "/api/v1/metrics"


def read_tokens(path: Path) -> tuple[str, ...]:
    """The tokens of a file, one a line; empty lines and those that begin with # are none.

    Raises:
        ConfigError: it cannot be read, has no token, or one that is short or no printable ASCII without spaces.
    """
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise ConfigError(f"--token-file {path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"--token-file {path}: byte {error.start} is no ASCII; expected one token a line") from error
    tokens = []
    for number, line in enumerate(lines, 1):
        token = line.strip()
        if not token or token.startswith("#"):
            continue
        if len(token) < LEAST_TOKEN_LENGTH or not token.isprintable() or " " in token:
            raise ConfigError(
                f"--token-file {path}: line {number} is no token; expected at least {LEAST_TOKEN_LENGTH} characters "
                "without spaces, such as `openssl rand -hex 32` prints"
            )
        tokens.append(token)
    if not tokens:
        raise ConfigError(f"--token-file {path}: has no token; expected one a line")
    return tuple(tokens)


class Guard:
    """Refuses requests to the API without a token, and those of a client that asks too often."""

    def __init__(self, app: ASGIApp, *, tokens: Sequence[str], per_minute: float) -> None:
        """
        Args:
            app: what is guarded.
            tokens: those of which a request needs one; none where all may ask.
            per_minute: requests of one client in a minute, of which it may spend all at once; 0 for any number.
        """
        self._app = app
        self._tokens = [token.encode() for token in tokens]
        self._buckets = Buckets(per_minute) if per_minute else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        if "/api/" not in path or path.endswith(OPEN):  # a proxy may have left its own path before it
            await self._app(scope, receive, send)
            return
        is_known = not self._tokens or self._is_known(Headers(scope=scope).get("authorization", ""))
        try:
            if self._buckets and not (is_known and path.endswith(_METRICS)):
                self._buckets.take((scope.get("client") or ("",))[0])
            if not is_known:
                message = "expected the header `Authorization: Bearer TOKEN` with a token of this server"
                raise Refused(401, "unauthorized", message, is_reading=True)
        except Refused as refused:
            await refused.response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_known(self, header: str) -> bool:
        scheme, _, given = header.partition(" ")
        token = given.strip().encode("utf-8", "replace")
        # All are compared, so that the time says nothing of which of them is like it.
        is_known = [hmac.compare_digest(token, known) for known in self._tokens]
        return scheme.lower() == "bearer" and any(is_known)


class Buckets:
    """How many requests each client has left: a bucket that fills evenly."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute, self._clock = per_minute, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> None:
        """Counts a request of a client.

        Raises:
            Refused: 429, it has none left; `retry_after` says in how many seconds it has.
        """
        now, client = self._clock(), network_of(address)
        left, then = self._left.pop(client, (self._per_minute, now))
        left = min(self._per_minute, left + (now - then) * self._per_minute / 60)
        is_free = left >= 1
        self._left[client] = left - is_free, now
        if len(self._left) > _MOST_CLIENTS:
            self._left.popitem(last=False)
        if not is_free:
            wait_s = math.ceil((1 - left) * 60 / self._per_minute)
            message = f"more than {self._per_minute:g} requests a minute; try again in {wait_s} s"
            raise Refused(
                429, "too_many_requests", message, is_reading=True, limit=self._per_minute, retry_after=wait_s
            )


def network_of(address: str) -> str:
    """What tells one client from another: its address, of IPv6 the 64 bits that a household has for itself."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(parsed), 64), strict=False))
    return str(parsed)
