"""The page of `quickstroke serve` with a model as one HTML file, which opens by a double click, without any server.

Browsers load no modules, workers or data from `file://` but what is inside the page. So style sheets stand in it, the
modules' text as JSON that html_start.js makes importable; that and every other file is gzip in base64.
"""

import base64
import gzip
import json
import re
from pathlib import Path

from quickstroke.export.compact import Compacted
from quickstroke.export.web import SERVICE_WORKER, model_files, offline, page_files

# Nothing is fetched, and nothing sent: `default-src` holds for connections, too.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' data:; worker-src blob:; "
    "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
)
_SHEET = re.compile(r'<link rel="stylesheet" href="([\w.-]+)">')
_SCRIPT = re.compile(r'  <script src="[\w.-]+" (?:defer|type="module")></script>\n')
_POLICY_LINE = re.compile(r'(<meta http-equiv="Content-Security-Policy" content=")[^"]*(">)')
# What a page alone in a file has no use for.
_LINKS = re.compile(r'  <link rel="(?:manifest|apple-touch-icon)"[^>]*>\n')
_NOT_INSIDE = (SERVICE_WORKER, "opened-as-file.js")
# Modules are named by these in the import map, since a relative name means nothing within a `data:` address.
_IMPORT = re.compile(r'((?:\bfrom|\bimport)\s*\(?\s*)"\./([\w.-]+)"')
_START = Path(__file__).parent / "html_start.js"


def page(exported: Compacted) -> bytes:
    """The page's one file, with the `.quickstroke` file in it."""
    files = page_files()
    modules = {
        name: _IMPORT.sub(r'\1"quickstroke/\2"', data.decode())
        for name, data in files.items()
        if name.endswith(".js") and name not in _NOT_INSIDE
    }
    icon = f"data:image/svg+xml;base64,{base64.b64encode(files['icon.svg']).decode()}"
    inside = model_files(exported) | {name: data for name, data in files.items() if name.endswith(".bin")}
    licences = [data.decode() for name, data in files.items() if name.startswith("LICENSE")]
    body = [
        *(f"<!-- A part of the scripts is of others:\n{text}-->" for text in licences),
        *(f'<script type="text/plain" id="file:{name}">{_packed(data)}</script>' for name, data in inside.items()),
        f'<script type="text/plain" id="modules">{_packed(json.dumps(modules).encode())}</script>',
        f"<script>\n{_START.read_text(encoding='utf-8')}</script>",
    ]
    html = offline(files["index.html"].decode(), "<!-- made by `quickstroke export --to html` -->")
    html = _SCRIPT.sub("", _LINKS.sub("", html))
    html = _POLICY_LINE.sub(rf"\g<1>{_POLICY}\g<2>", html)
    html = _SHEET.sub(lambda found: f"<style>\n{files[found[1]].decode()}</style>", html).replace(
        '"icon.svg"', f'"{icon}"'
    )
    return html.replace("</body>", "\n".join([*body, "</body>"])).encode()


def _packed(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()
