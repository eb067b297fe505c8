"""`quickstroke serve`."""

import re
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from quickstroke.cli.answers import counted, note, print_json
from quickstroke.cli.options import MODEL, ClassesFile, Json, Taught, Words, optional, parse
from quickstroke.cli.running import import_torch
from quickstroke.drawings.categories import parse_classes
from quickstroke.errors import ConfigError

if TYPE_CHECKING:
    from quickstroke.inference.recognizer import Recognizer

# What a browser could send as its Origin: scheme, host, perhaps a port, and nothing else; or any.
_ORIGIN = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?|\*")


@dataclass(frozen=True)
class Options:
    """A page to draw on that names the drawing while it is drawn, and an HTTP API under /api/v1.

    Prints the page's address when it is ready. Ctrl-C ends it when the requests under way are answered.

    Attributes:
        host: address to listen at; 0.0.0.0 for all IPv4 addresses of this machine, :: for all IPv6 ones
        port: 0 for a free one
        cors: origins, such as https://example.org, whose pages may use the API; * for all
        frame_ancestors: origins whose pages may show this page in a frame; * for all
        token_file: answer only requests to the API with a bearer token of this file, which has one a line
        rate_limit: requests to the API that one client may make in a minute; 0 for any number
        root_path: the path, such as /sketch, under which a proxy shows this server
        trusted_proxies: proxies that tell by X-Forwarded-For and -Proto who asks, and how; * for all
        workers: processes, each with the model for itself
        open: open the page in the browser
    """

    model: Annotated[Positional[str | None], optional("[MODEL]", MODEL)] = None
    classes: ClassesFile = None
    words: Words = None
    taught: Taught = None
    host: Annotated[str, arg(metavar="HOST")] = "127.0.0.1"
    port: Annotated[int, arg(metavar="PORT")] = 8000
    cors: Annotated[tuple[str, ...], optional("ORIGIN...")] = ()
    frame_ancestors: Annotated[tuple[str, ...], optional("ORIGIN...")] = ()
    token_file: Annotated[str | None, optional("FILE")] = None
    rate_limit: Annotated[int, arg(metavar="N")] = 0
    root_path: Annotated[str, arg(metavar="PATH")] = ""
    trusted_proxies: Annotated[tuple[str, ...], optional("ADDRESS...")] = ()
    workers: Annotated[int, arg(metavar="N")] = 1
    open: bool = False
    json: Json = False


def main(args: Sequence[str]) -> None:
    options = parse(Options, "serve", args)
    for option, origins in (("--cors", options.cors), ("--frame-ancestors", options.frame_ancestors)):
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise ConfigError(f"{option} {origin}: not an origin; expected one like https://example.org, or *")

    if options.root_path and not re.fullmatch(r"(/[\w.~-]+)+", options.root_path):
        raise ConfigError(f"--root-path {options.root_path}: expected a path like /sketch, without a slash at its end")
    for option, value, least in (("--workers", options.workers, 1), ("--rate-limit", options.rate_limit, 0)):
        if value < least:
            raise ConfigError(f"{option} {value}: expected at least {least}")

    from quickstroke.serve import server, workers
    from quickstroke.serve.guard import read_tokens

    tokens = read_tokens(Path(options.token_file)) if options.token_file else ()
    # Before the model is loaded: a port that is taken is told at once.
    with server.listen(options.host, options.port) as sock:
        model = _load(options)
        note(model.note)
        address = sock.getsockname()[0]
        if not server.is_loopback(address):
            who = "whoever connects can use it" if not tokens else "a token can be read by whoever is between"
            without = "encryption" if tokens else "encryption or password"
            note(f"{address} is reached from other machines, without {without}: {who}")
        url, network_url = server.url(sock), server.network_url(sock)

        def ready() -> None:
            if options.json:
                facts = {"model": model.name, "n_classes": len(model.classes), "url": url, "network_url": network_url}
                print_json(facts)
            told = sys.stderr if options.json else sys.stdout
            print(f"{model.name} ({counted(len(model.classes), 'class')}) is served at {url}", file=told, flush=True)
            if address in ("0.0.0.0", "::"):
                where = network_url or f"it by this machine's name or address and port {sock.getsockname()[1]}"
                print(f"other devices of this network may open {where}", file=told, flush=True)
            if options.open:
                # Beside the server: some browsers return when they are closed.
                threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

        if options.workers == 1:
            _serve(options, tokens, sock, ready, model)
        else:
            workers.run_workers(options.workers, sock, partial(_serve, options, tokens), ready)


def _load(options: Options) -> "Recognizer":
    import_torch(options.model)
    from quickstroke.inference import recognizer

    words = options.words and parse_classes(options.words)
    return recognizer.load(options.model, options.classes, words=words, taught=options.taught)


def _serve(
    options: Options,
    tokens: Sequence[str],
    sock: socket.socket,
    ready: Callable[[], None],
    model: "Recognizer | None" = None,
) -> None:
    """Answers requests until a signal; a process of its own loads the model itself."""
    from quickstroke.serve.app import create_app
    from quickstroke.serve.server import Server

    model = model or _load(options)
    if "torch" in sys.modules:
        # A drawing is too small to be worth several threads, which would also take the cores from the network.
        sys.modules["torch"].set_num_threads(1)
    app = create_app(
        model,
        cors=options.cors,
        frame_ancestors=options.frame_ancestors,
        tokens=tokens,
        per_minute=options.rate_limit,
        root_path=options.root_path,
    )
    Server(app, on_ready=ready, trusted_proxies=options.trusted_proxies).run([sock])
