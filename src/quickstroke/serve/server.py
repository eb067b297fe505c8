"""The socket and uvicorn: bound before the model is loaded, closed when the last request is answered."""

import asyncio
import gc
import json
import logging
import signal
import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_address

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from quickstroke.errors import ConfigError

# All addresses of this machine, and one of any other machine: those of RFC 5737 and RFC 3849 are nobody's.
_ANY = {"0.0.0.0": "192.0.2.1", "::": "2001:db8::1"}
# Time for the head of a request to arrive.
HEAD_S = 10.0
# After a signal, time for the requests that came before it.
SHUTDOWN_S = 25


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one.

    Raises:
        ConfigError: the port is taken or may not be used, or the host is none of this machine.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port should be 0 to 65535, got {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, TypeError, UnicodeError) as error:  # the latter two for what can be no host's name
        # Python adds the address in brackets, which is said here already.
        reason = str(getattr(error, "strerror", error)).partition(" (while")[0]
        raise ConfigError(
            f"cannot listen at {host!r} port {port} ({reason}); choose another with --host or --port, --port 0 takes "
            "a free one"
        ) from error


def is_loopback(address: str) -> bool:
    """Whether this machine alone reaches an IP address, which may name its interface (`%`)."""
    return ip_address(address.partition("%")[0]).is_loopback


def url(sock: socket.socket) -> str:
    """The address of the page behind a bound socket, as a browser on this machine can open it."""
    host, port = sock.getsockname()[:2]
    return _http({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)


def _http(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def network_url(sock: socket.socket) -> str | None:
    """The address of the page for other machines of the network; None where they cannot reach it, or where this
    machine is in none."""
    host = sock.getsockname()[0]
    if host not in _ANY:
        return None if is_loopback(host) else url(sock)
    with socket.socket(sock.family, socket.SOCK_DGRAM) as probe:
        try:
            # To connect a UDP socket sends nothing: it tells by which of its addresses this machine would send there.
            probe.connect((_ANY[host], 9))
        except OSError:  # no network
            return None
        address = probe.getsockname()[0]
    return None if is_loopback(address) else _http(address, sock.getsockname()[1])


class Server(uvicorn.Server):
    """uvicorn, quiet, with Ctrl-C and SIGTERM as the normal end."""

    def __init__(
        self, app: ASGIApp, *, on_ready: Callable[[], None] = lambda: None, trusted_proxies: Sequence[str] = ()
    ) -> None:
        """
        Args:
            app: the application.
            on_ready: called when requests are answered.
            trusted_proxies: addresses, or `*`, whose X-Forwarded-For and X-Forwarded-Proto are believed.
        """
        self._on_ready = on_ready
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=_Protocol,
            ws="none",
            lifespan="on",
            log_config=None,
            log_level=logging.ERROR,
            access_log=False,
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=list(trusted_proxies),
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_S,
        )
        super().__init__(config)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves until a signal, and returns when the last request is answered.

        Raises:
            RuntimeError: the application did not start.
        """
        # uvicorn raises a signal again when it has shut down, for the handlers that were there before its own.
        before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            super().run(sockets)
        except SystemExit as error:  # uvicorn's, after it has logged why
            raise RuntimeError("the application did not start") from error
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.lifespan.should_exit:
            raise SystemExit  # as uvicorn does since 0.50
        # What is there now stays: looking through it for garbage again and again takes a third of a request's time.
        gc.collect()
        gc.freeze()
        self._on_ready()


class _Protocol(H11Protocol):
    """HTTP whose heads have a time limit, and whose errors are JSON like the application's."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # asyncio does it for sockets that say they are TCP, which those of `socket.create_server` do not. Without it
        # the body of an answer waits 40 ms for the head to be acknowledged.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._head_timer is not None:
            self._head_timer.cancel()

    def _watch_head(self) -> None:
        """Starts the clock where a head is awaited, stops it where one has come."""
        if not self._awaits_head():
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_S, self._close_unless_asked)

    def _awaits_head(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _close_unless_asked(self) -> None:
        self._head_timer = None
        if self._awaits_head():
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        if self._awaits_head() or not self.cycle.response_started:  # otherwise it would be part of another answer
            body = json.dumps({"error": {"code": "malformed_http", "message": msg}})
            head = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n"
            self.transport.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        self.transport.close()
