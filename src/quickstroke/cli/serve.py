"""`quickstroke serve`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from quickstroke.cli.common import MODEL, Json, Taught, Words, note, optional, parse, print_json
from quickstroke.drawings.categories import parse_classes
from quickstroke.errors import ConfigError


@dataclass(frozen=True)
class Options:
    """A page to draw on that names the drawing while it is drawn, and an HTTP API under /api/v1.

    Prints the page's address when it is ready. Ctrl-C ends it when the requests under way are answered.
    """

    model: Annotated[
        Positional[str | None],
        optional(MODEL, "[MODEL]"),
    ] = None
    classes: Annotated[
        str | None,
        optional("classes of a model without a card, in the order of its output layer, one a line", "FILE"),
    ] = None
    words: Words = None
    taught: Taught = None
    host: Annotated[str, arg(metavar="HOST", help="address to listen at; 0.0.0.0 for all of this machine's")] = (
        "127.0.0.1"
    )
    port: Annotated[int, arg(metavar="PORT", help="0 for a free one")] = 8000
    cors: Annotated[
        tuple[str, ...],
        optional("origins, such as https://example.org, whose pages may use the API; * for all", "ORIGIN..."),
    ] = ()
    frame_ancestors: Annotated[
        tuple[str, ...],
        optional("origins whose pages may show this page in a frame; * for all", "ORIGIN..."),
    ] = ()
    open: Annotated[bool, arg(help="open the page in the browser")] = False
    json: Json = False


def run(args: Sequence[str]) -> None:
    """Runs the command."""
    options = parse(Options, "serve", args)
    for option, origins in (("--cors", options.cors), ("--frame-ancestors", options.frame_ancestors)):
        for origin in origins:
            if not _is_origin(origin):
                raise ConfigError(f"{option} {origin}: not an origin; expected one like https://example.org, or *")

    from quickstroke.serve import server

    # Before the model is loaded: a port that is taken is told at once.
    with server.listen(options.host, options.port) as sock:
        import ipaddress
        import sys
        import threading
        import webbrowser

        from quickstroke.inference import recognizer
        from quickstroke.serve.app import create_app

        words = options.words and parse_classes(options.words)
        model = recognizer.load(options.model, options.classes, words=words, taught=options.taught)
        if model.note:
            note(model.note)
        address = sock.getsockname()[0]
        if not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
            note(
                f"{address} is reached from other machines, without encryption or password: whoever connects can use it"
            )
        if "torch" in sys.modules:
            # A drawing is too small to be worth several threads, which would also take the cores from the network.
            sys.modules["torch"].set_num_threads(1)
        url = server.url(sock)

        def ready() -> None:
            if options.json:
                print_json({"model": model.name, "n_classes": len(model.classes), "url": url})
            told = sys.stderr if options.json else sys.stdout
            print(f"{model.name} ({len(model.classes)} classes) is served at {url}", file=told, flush=True)
            if options.open:
                # Beside the server: some browsers return when they are closed.
                threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

        app = create_app(model, cors=options.cors, frame_ancestors=options.frame_ancestors)
        server.Server(app, on_ready=ready).run([sock])


def _is_origin(text: str) -> bool:
    """Whether a browser could send it as its Origin: scheme, host, perhaps a port, and nothing else."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return text == "*"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return text == "*" or (
        parts.scheme in ("http", "https") and bool(host) and text == f"{parts.scheme}://{host}{port}"
    )
