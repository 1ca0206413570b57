"""The two plain pages, `/` and `/docs`. They have no script and load nothing from other hosts."""

from __future__ import annotations

from html import escape
from typing import Any

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}

_FRAME = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }}
code, pre {{ font: 14px/1.5 ui-monospace, monospace; background: #f2f2f2; padding: .1em .3em; }}
pre {{ padding: .8em; overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; vertical-align: top; padding: .3em .8em .3em 0; border-bottom: 1px solid #ddd; }}
h2 {{ margin-top: 2em; }}
@media (prefers-color-scheme: dark) {{
  body {{ background: #161616; color: #eee; }} code, pre {{ background: #2a2a2a; }} a {{ color: #8bf; }}
  th, td {{ border-color: #444; }}
}}
</style>
{body}
</html>
"""


def index_page(models: list[str]) -> str:
    """Returns a page that says what this server is, with links."""
    body = f"""<h1>bbmr</h1>
<p>This server turns containers (<code>.bbmr</code>) back into photos, with the weights
{", ".join(f"<code>{escape(name)}</code>" for name in models)}.</p>
<pre>bbmr-client encode photo.jpg -o photo.bbmr
curl --data-binary @photo.bbmr -H 'Content-Type: application/vnd.bbmr' \\
     -o photo.png http://this-server/reconstruct</pre>
<p><a href="docs">The routes</a> · <a href="openapi.json">OpenAPI</a> · <a href="models">Models</a>
· <a href="readyz">Ready?</a> · <a href="metrics">Metrics</a></p>"""
    return _FRAME.format(title="bbmr", body=body)


def docs_page(document: dict[str, Any]) -> str:
    """Returns the OpenAPI document as a page."""
    sections = [
        _operation(method, path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]
    info = document["info"]
    body = (
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        f'<p>{escape(info.get("description", ""))} The same for programs: <a href="openapi.json">openapi.json</a>.'
        f"</p>{''.join(sections)}"
    )
    return _FRAME.format(title="bbmr: routes", body=body)


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    parts = [f"<h2><code>{method.upper()} {escape(path)}</code></h2>"]
    parts += [f"<p>{escape(operation.get('description') or operation.get('summary', ''))}</p>"]
    rows = [(f"query {one['name']}", one.get("description", "")) for one in operation.get("parameters", [])]
    body = operation.get("requestBody")
    if body:
        rows.append(("body", f"{body['description']} {', '.join(body['content'])}"))
    for status, answer in operation["responses"].items():
        types = ", ".join(answer.get("content", {}))
        rows.append((status, f"{answer['description']} {types}"))
    cells = "".join(f"<tr><th>{escape(str(a))}</th><td>{escape(b)}</td></tr>" for a, b in rows)
    return "".join(parts) + f"<table>{cells}</table>"
