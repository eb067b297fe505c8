"""The page `/docs`: what OpenAPI says of the API, for people, without anything from other hosts."""

import json
from collections.abc import Sequence
from html import escape
from typing import Any

STYLE = (
    "body{font:1em/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "pre,code{font-family:ui-monospace,monospace;font-size:.9em}pre{white-space:pre-wrap;overflow-wrap:anywhere;padding:.75rem;"
    "background:#8881;border-radius:.4rem}table{border-collapse:collapse;width:100%}td,th{text-align:left;"
    "vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid #8884}:root{color-scheme:light dark}"
)


def docs_page(document: dict[str, Any], root_path: str) -> str:
    """HTML of an OpenAPI document of version 3.1."""
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(document["info"]["title"])}: API</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<link rel="stylesheet" href="docs.css"></head><body><main>',
        f"<h1>{escape(document['info']['title'])} {escape(document['info']['version'])}: the API</h1>",
        *(f"<p>{_text(paragraph)}</p>" for paragraph in document["info"]["description"].split("\n\n")),
        f'<p>For programs: <a href="{escape(root_path)}/api/v1/openapi.json">openapi.json</a>.</p>',
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts += _operation(root_path + path, method.upper(), operation)
    return "\n".join([*parts, "</main></body></html>"])


def _operation(path: str, method: str, operation: dict[str, Any]) -> list[str]:
    parts = [f"<h2><code>{method} {escape(path)}</code></h2>", f"<p>{_text(operation['description'])}</p>"]
    described: dict[str, Any] = operation.get("requestBody", {}).get("content", {})
    if content := described.get("application/json"):
        required = content["schema"].get("required", [])
        rows = [
            (name, "required" if name in required else json.dumps(each.get("default")), each.get("description", ""))
            for name, each in content["schema"]["properties"].items()
        ]
        parts += _table(("key", "default", "meaning"), rows)
        for example in content["examples"].values():
            body = escape(json.dumps(example["value"]))
            parts.append(f"<p>{escape(example['summary'])}:</p><pre>{body}</pre>")
    elif described:
        parts.append(f"<p>The body is a picture: {escape(', '.join(described))}.</p>")
    query = [(each["name"], each["description"]) for each in operation.get("parameters", [])]
    parts += _table(("in the address", "meaning"), query) if query else []
    responses = operation["responses"]
    answer = responses["200"].get("content", {}).get("application/json", {}).get("example")
    if answer:
        parts.append(f"<p>The answer:</p><pre>{escape(json.dumps(answer))}</pre>")
    errors = [(status, each["description"]) for status, each in sorted(responses.items()) if status != "200"]
    return parts + (_table(("status", "meaning"), errors) if errors else [])


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = ["".join(f"<td>{_text(cell)}</td>" for cell in row) for row in rows]
    titles = "".join(f"<th>{title}</th>" for title in head)
    return [f"<table><tr>{titles}</tr>", *(f"<tr>{line}</tr>" for line in lines), "</table>"]


def _text(text: str) -> str:
    """With what stands between backquotes as code."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if i % 2 else piece for i, piece in enumerate(pieces))
