"""The command as a user runs it: a process with a real socket, its end, and what it refuses to start with."""

import asyncio
import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import uvicorn
from uvicorn.server import ServerState

from quickstroke.cli import main
from quickstroke.serve import app as app_module
from quickstroke.serve import server as server_module
from quickstroke.serve.app import create_app
from quickstroke.serve.limits import Limits
from quickstroke.serve.server import Server, listen, url
from quickstroke.serve.workers import run_workers

ORIGIN = "https://draw.example"
TOKEN = "0123456789abcdef0123"
SQUARE = [[[0, 0, 255, 255, 0], [0, 255, 255, 0, 0]]]
BODY = json.dumps({"strokes": SQUARE}).encode()
get, post = (partial(ask, timeout=600) for ask in (httpx.get, httpx.post))  # httpx itself waits for five seconds
COMPILING = "compiling for this processor what this needs, which takes up to a minute; it is kept for the next time\n"
HEAD = b"POST /api/v1/recognize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


class Served:
    """A running `quickstroke serve`."""

    def __init__(self, *args, **env):
        command = [sys.executable, "-m", "quickstroke", "serve", *map(str, args), "--port", "0"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **env}
        )
        self.line = self.process.stdout.readline().rstrip("\n")
        found = re.search(r"http://[\w.:]+/", self.line)
        assert found, self.process.communicate()
        self.url = found[0]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()  # in case that it has not ended by itself
        self.process.communicate()

    def connect(self):
        return connect(self.url)

    def end(self):
        """Exit code, the rest of stdout, and stderr; that it compiles it says only where nothing is kept yet."""
        out, err = self.process.communicate(timeout=600)
        return self.process.returncode, out, err.replace(COMPILING, "")


def connect(address):
    """A connection whose other side is expected to do something sooner or later."""
    parts = urlsplit(address)
    return socket.create_connection((parts.hostname, parts.port), timeout=600)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A program that writes the address that it should open into a pipe, and the pipe."""
    folder = tmp_path_factory.mktemp("browser")
    program, pipe = folder / "browser", folder / "opened"
    os.mkfifo(pipe)
    program.write_text(f'#!/bin/sh\nprintf %s "$1" > {pipe}\n')
    program.chmod(0o755)
    return program, pipe


@pytest.fixture(scope="module")
def served(model_file, browser):
    """One server for the tests that leave it as it was; at its end it has said nothing but its address."""
    with Served(model_file, "--open", "--cors", ORIGIN, BROWSER=f"{browser[0]} %s") as served:
        yield served
        served.process.send_signal(signal.SIGINT)
        assert served.end() == (0, "", "")


def read_answer(connection):
    """Status, headers and JSON of the next answer on a connection, and nothing of what follows."""
    head, body = b"", b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        assert byte, head
        head += byte
    status, *lines = head.decode().rstrip().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    while missing := int(headers["content-length"]) - len(body):
        part = connection.recv(missing)
        assert part, body
        body += part
    return int(status.split()[1]), headers, json.loads(body)


def is_closed(connection):
    """Whether the other side closes, rather than sends more."""
    with contextlib.suppress(ConnectionResetError):
        return connection.recv(1) == b""
    return True


def content_length(n):
    return b"Content-Length: %d\r\n" % n


# --- a running server


def test_the_address_is_printed_and_answers(served, recognizer):
    port = urlsplit(served.url).port
    assert served.line == f"{recognizer.name} (7 classes) is served at http://127.0.0.1:{port}/"
    assert get(served.url).headers["content-type"].startswith("text/html")
    answer = post(f"{served.url}api/v1/recognize", json={"strokes": SQUARE, "top": 7})
    expected = recognizer.predict([np.transpose(stroke) for stroke in SQUARE], top=7)
    assert [guess["word"] for guess in answer.json()["guesses"]] == [guess.word for guess in expected]
    assert get(f"{served.url}api/v1/model").json()["card"] == recognizer.card


def test_the_page_is_opened_in_the_browser(served, browser):
    pipe = os.open(browser[1], os.O_RDWR)  # waits for nobody, as O_RDONLY would
    assert select.select([pipe], [], [], 600)[0], "no browser was started"
    assert os.read(pipe, 1000).decode() == served.url
    os.close(pipe)


def test_pages_of_the_given_origin_may_ask(served):
    for origin, allowed in ((ORIGIN, ORIGIN), ("https://other.example", None)):
        answer = get(f"{served.url}api/v1/healthz", headers={"Origin": origin})
        assert answer.headers.get("access-control-allow-origin") == allowed


def test_one_connection_for_many_requests(served):
    """Refusals of complete requests keep it, too."""
    with served.connect() as connection:
        for body, status in ((BODY, 200), (b"{", 400), (b"{}", 422), (BODY, 200)):
            connection.sendall(HEAD + content_length(len(body)) + b"\r\n" + body)
            assert read_answer(connection)[0] == status
        connection.sendall(3 * (HEAD + content_length(len(BODY)) + b"\r\n" + BODY))  # without waiting for the first
        assert [read_answer(connection)[0] for _ in range(3)] == [200] * 3


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(served):
    with served.connect() as connection:
        connection.sendall(HEAD + content_length(3 << 20) + b"Expect: 100-continue\r\n\r\n")
        status, headers, body = read_answer(connection)
        assert (status, headers["connection"], body["error"]["code"]) == (413, "close", "body_too_large")
        assert is_closed(connection)


def test_a_body_that_is_too_large_is_refused_though_its_client_reads_only_when_all_is_sent(served):
    n = 4 << 20
    with served.connect() as connection:
        connection.sendall(HEAD + content_length(n) + b"\r\n" + b" " * n)
        status, _, body = read_answer(connection)
    assert (status, body["error"]["code"], body["error"]["limit"]) == (413, "body_too_large", 2 << 20)


@pytest.mark.parametrize("n", [10**18, 10**19, 10**20 - 1])
def test_a_body_of_any_announced_size_is_refused_at_once(served, n):
    with served.connect() as connection:
        connection.sendall(HEAD + content_length(n) + b"\r\n ")
        status, _, body = read_answer(connection)
    assert (status, body["error"]["code"]) == (413, "body_too_large")


def test_a_chunked_body_that_is_too_large_is_refused(served):
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with served.connect() as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + 33 * chunk)  # one more than 2 MiB
        status, headers, body = read_answer(connection)
        assert (status, headers["connection"], body["error"]["code"]) == (413, "close", "body_too_large")
        assert is_closed(connection)  # though the body's end never came


def test_a_chunked_body_is_read(served):
    chunks = b"".join(b"%x\r\n%b\r\n" % (1, BODY[i : i + 1]) for i in range(len(BODY)))
    with served.connect() as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
        assert read_answer(connection)[0] == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000,
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nno length\r\n",
    ],
)
def test_what_is_no_http(served, sent):
    with served.connect() as connection:
        connection.sendall(sent)
        status, headers, body = read_answer(connection)
        assert (status, headers["connection"]) == (400, "close")
        assert body["error"]["code"] == "malformed_http" and body["error"]["message"]
        assert is_closed(connection)


@pytest.fixture
def impatient(recognizer, monkeypatch):
    """The address of a server in this process that gives a second to a head or a body, in place of ten."""
    monkeypatch.setattr(server_module, "HEAD_S", 1.0)
    server = Server(create_app(recognizer, Limits(body_s=1.0)))
    with listen("127.0.0.1", 0) as sock:
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([sock])))
        thread.start()
        yield url(sock)
        server.should_exit = True
        thread.join()


def test_what_does_not_come_is_not_waited_for(impatient):
    """All at once, as each takes the time that is given to a head or a body."""
    begun = {
        "nothing": b"",
        "half a head": HEAD,
        "half a body": HEAD + content_length(len(BODY)) + b"\r\n" + BODY[:-1],
        "a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
        "a request and half a head": HEAD + content_length(len(BODY)) + b"\r\n" + BODY + HEAD,
    }
    with contextlib.ExitStack() as stack:
        connections = {}
        for name, sent in begun.items():
            connections[name] = stack.enter_context(connect(impatient))
            connections[name].sendall(sent)
        assert read_answer(connections["a request and half a head"])[0] == 200
        for name in ("half a body", "a chunk"):
            status, headers, body = read_answer(connections[name])
            assert (status, headers["connection"]) == (408, "close")
            assert (body["error"]["code"], body["error"]["limit"]) == ("slow_body", 1)
        assert all(is_closed(connection) for connection in connections.values())
    assert get(f"{impatient}api/v1/healthz").status_code == 200


def test_clients_that_leave(served):
    """In the middle of a body, and without waiting for the answer."""
    for sent in (HEAD + content_length(100) + b"\r\n{", HEAD + content_length(len(BODY)) + b"\r\n" + BODY):
        for _ in range(5):
            with served.connect() as connection:
                connection.sendall(sent)
    assert post(f"{served.url}api/v1/recognize", json={"strokes": SQUARE}).status_code == 200


# --- its end


def test_the_request_under_way_is_answered_after_the_signal(model_file):
    """SIGTERM; `served` ends by Ctrl-C. The JSON line has been read before it."""
    with Served(model_file, "--json") as served, served.connect() as idle, served.connect() as connection:
        assert f"{json.loads(served.line)['url']}" == served.url
        # On a 100 the application has begun with the request.
        connection.sendall(HEAD + content_length(len(BODY)) + b"Expect: 100-continue\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(BODY[:10])
        served.process.send_signal(signal.SIGTERM)
        assert is_closed(idle)
        with pytest.raises(ConnectionRefusedError):  # nobody new
            served.connect()
        assert served.process.poll() is None
        connection.sendall(BODY[10:])
        status, _, body = read_answer(connection)
        assert status == 200 and len(body["guesses"]) == 5
        assert is_closed(connection)
        code, out, err = served.end()
        assert (code, out) == (0, "") and err.count("\n") == 1 and f"is served at {served.url}" in err


def test_several_workers_answer_and_one_that_is_killed_is_replaced(model_file, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKEN)
    with Served(model_file, "--workers", 2, "--token-file", tokens, "--root-path", "/sketch") as served:
        headers = {"Authorization": f"Bearer {TOKEN}"}

        def children():
            """Its workers; there is also a process that cleans up behind them."""
            pids = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split()
            found = set()
            for pid in pids:
                with contextlib.suppress(OSError):  # one that has just ended
                    if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        found.add(int(pid))
            return found

        client = httpx.Client(timeout=600, headers={"Connection": "close"})
        answer = client.post(f"{served.url}api/v1/recognize", json={"strokes": SQUARE}, headers=headers)
        assert answer.status_code == 200 and client.get(f"{served.url}api/v1/model").status_code == 401
        if sys.platform == "linux":
            first = children()
            assert len(first) == 2
            os.kill(min(first), signal.SIGKILL)
            while len(children() - first) < 1:
                assert served.process.poll() is None
            assert client.get(f"{served.url}api/v1/model", headers=headers).status_code == 200
        served.process.send_signal(signal.SIGTERM)
        assert served.end()[:2] == (0, "")


@contextlib.contextmanager
def idle_workers(*args, **streams):
    """A running `idle_workers.py`."""
    command = [sys.executable, Path(__file__).with_name("idle_workers.py"), *args]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **streams) as process:
        try:
            yield process
        finally:
            process.kill()  # else leaving would wait for ever for one that does not end


@pytest.mark.skipif(sys.platform != "linux", reason="a killed parent")
def test_workers_end_with_a_parent_that_was_killed():
    with idle_workers(stderr=subprocess.PIPE) as process:
        assert int(process.stdout.readline())
        process.kill()
        process.communicate(timeout=600)  # its pipes are closed, so no worker has them any more
    assert process.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="signals")
def test_who_comes_while_workers_end_is_refused_and_not_let_wait(tmp_path):
    until = tmp_path / "end"
    with idle_workers(until) as process:
        port = int(process.stdout.readline())
        socket.create_connection(("127.0.0.1", port)).close()
        process.terminate()
        deadline = time.monotonic() + 60
        try:
            with pytest.raises(ConnectionRefusedError):
                while time.monotonic() < deadline:
                    socket.create_connection(("127.0.0.1", port)).close()
                    time.sleep(0.05)
        finally:
            until.touch()
        assert process.wait(timeout=600) == 0


def test_workers_that_do_not_serve_are_not_begun_for_ever():
    with listen("127.0.0.1", 0) as sock, pytest.raises(RuntimeError, match="ended before it served, with exit code 3"):
        run_workers(2, sock, _end, lambda: None)


def _end(sock, ready):
    sys.exit(3)


def test_an_application_that_does_not_start_is_our_fault(recognizer, monkeypatch, caplog):
    def fail(*args, **options):
        raise ZeroDivisionError

    monkeypatch.setattr(recognizer, "predict", fail)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with listen("127.0.0.1", 0) as sock, pytest.raises(RuntimeError, match="did not start"):
        Server(create_app(recognizer)).run([sock])
    assert "ZeroDivisionError" in caplog.text
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_the_command_compiles_beside_its_requests(model_file, monkeypatch, one_thread):
    begun = []

    class Once(Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            self.should_exit = True

    monkeypatch.setattr(app_module, "beside", begun.append)
    monkeypatch.setattr(server_module, "Server", Once)
    main(["serve", str(model_file), "--port", "0"])
    (compile,) = begun
    assert compile.__func__ is app_module.Service.compile and not compile.__self__._recognizer.compiles


# --- what it does not start with


def test_a_port_that_is_taken(model_file, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert main(["serve", str(model_file), "--port", port]) == 2
    assert capsys.readouterr() == (
        "",
        f"quickstroke serve: cannot listen at '127.0.0.1' port {port} (Address already in use); choose another with "
        "--host or --port, --port 0 takes a free one\n",
    )


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["--port", "70000"], ["--port should be 0 to 65535, got 70000"]),
        (["--port", "-1"], ["--port"]),
        (["--host", "203.0.113.1"], ["cannot listen at '203.0.113.1' port 8000"]),
        (["--host", "no host"], ["cannot listen at 'no host' port 8000"]),
        (["--host", "a\0b"], ["cannot listen at"]),
        (["--cors", "https://draw.example/"], ["--cors https://draw.example/: not an origin", "https://example.org"]),
        (["--cors", "*", "draw.example"], ["--cors draw.example: not an origin"]),
        (["--cors", "https://user@draw.example"], ["not an origin"]),
        (["--cors", "https://Draw.example"], ["not an origin"]),
        (["--cors", "https://draw.example:port"], ["not an origin"]),
        (["--cors", "ftp://draw.example"], ["not an origin"]),
        (["--cors", "null"], ["not an origin"]),
        (["--frame-ancestors", "draw.example"], ["--frame-ancestors draw.example: not an origin"]),
        (["--rate-limit", "-1"], ["--rate-limit -1: expected at least 0"]),
        (["--workers", "0"], ["--workers 0: expected at least 1"]),
        (["--root-path", "sketch/"], ["--root-path sketch/: expected a path like /sketch"]),
        (["--token-file", "tokens"], ["--token-file tokens: cannot be read: No such file"]),
        (["no.model", "--port", "0"], ["no.model: no such model"]),
    ],
)
def test_mistakes_are_told_in_one_line(capsys, monkeypatch, tmp_path, args, parts):
    monkeypatch.chdir(tmp_path)
    assert main(["serve", *args]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err
    assert all(part in captured.err for part in parts), captured.err
    assert len(captured.err.splitlines()) == 1


@pytest.mark.parametrize(
    "origin", ["https://draw.example", "http://localhost:3000", "http://[::1]:3000", "https://a.b.example:444", "*"]
)
@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_what_it_says_at_its_start(capsys, monkeypatch, model_file, recognizer, origin, host):
    """Without the server itself."""
    monkeypatch.setattr(server_module.Server, "run", lambda self, sockets: self._on_ready())
    assert main(["serve", str(model_file), "--port", "0", "--host", host, "--cors", origin]) == 0
    captured = capsys.readouterr()
    first, *others = captured.out.splitlines()
    assert re.fullmatch(rf"{recognizer.name} \(7 classes\) is served at http://127\.0\.0\.1:\d+/", first)
    assert [line.partition(" may open ")[0] for line in others] == ["other devices of this network"] * (
        host == "0.0.0.0"
    )
    warning = "0.0.0.0 is reached from other machines, without encryption or password: whoever connects can use it\n"
    assert captured.err == (warning if host == "0.0.0.0" else "")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_addresses(host):
    try:
        sock = listen(host, 0)
    except Exception:
        if ":" not in host:
            raise
        pytest.skip("no IPv6 here")
    with sock:
        address = urlsplit(url(sock))
        assert address.hostname == host.replace("localhost", "127.0.0.1")
        assert address.port == sock.getsockname()[1] > 0


@pytest.mark.parametrize(
    ("own", "expected"),
    [("192.168.1.5", r"http://192\.168\.1\.5:\d+/"), ("127.0.0.1", None), (None, None)],
    ids=["network", "loopback", "none"],
)
def test_the_address_for_other_devices(capsys, monkeypatch, model_file, own, expected):
    class Probe(socket.socket):
        """A socket of a machine with this address."""

        def connect(self, address):
            assert self.type == socket.SOCK_DGRAM and address[0] == "192.0.2.1"
            if own is None:
                raise OSError("Network is unreachable")

        def getsockname(self):
            return (own, 9) if self.type == socket.SOCK_DGRAM else super().getsockname()

    monkeypatch.setattr(server_module.socket, "socket", Probe)
    monkeypatch.setattr(server_module.Server, "run", lambda self, sockets: self._on_ready())
    assert main(["serve", str(model_file), "--port", "0", "--host", "0.0.0.0", "--json"]) == 0
    captured = capsys.readouterr()
    answer, told = json.loads(captured.out), captured.err.splitlines()[-1]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", answer["url"])
    if expected is None:
        assert answer["network_url"] is None
        port = urlsplit(answer["url"]).port
        assert told == f"other devices of this network may open it by this machine's name or address and port {port}"
    else:
        assert re.fullmatch(expected, answer["network_url"])
        assert told == f"other devices of this network may open {answer['network_url']}"


def test_a_loopback_address_has_none_for_other_devices():
    with listen("127.0.0.1", 0) as sock:
        assert server_module.network_url(sock) is None


def test_the_body_of_an_answer_does_not_wait_for_its_head_to_be_acknowledged():
    async def accepted_socket_option() -> int:
        config = uvicorn.Config(lambda scope, receive, send: None, loop="asyncio")
        config.load()
        protocols = []

        def new_protocol():
            protocols.append(server_module._Protocol(config, ServerState(), {}))
            return protocols[-1]

        with server_module.listen("127.0.0.1", 0) as listening:
            server = await asyncio.get_running_loop().create_server(new_protocol, sock=listening)
            _, writer = await asyncio.open_connection(*listening.getsockname())
            while not protocols or protocols[0].transport is None:
                await asyncio.sleep(0)
            accepted = protocols[0].transport.get_extra_info("socket")
            option = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            writer.close()
            server.close()
        return option

    assert asyncio.run(accepted_socket_option())
