"""The page as one HTML file: everything is inside, and nothing outside is named."""

import base64
import gzip
import json
import re

from quickstroke.export import compact, html


def test_everything_is_inside(publish):
    exported = compact.export(publish("bipool_cv1_4_3_2_img2_lay1_sz4", reading="length-aware", max_padding=40))
    text = html.page(exported).decode()
    inside = dict(re.findall(r'<script type="text/plain" id="file:([^"]+)">([^<]+)</script>', text))
    assert gzip.decompress(base64.b64decode(inside["model.quickstroke"])) == exported.data
    modules = json.loads(gzip.decompress(base64.b64decode(re.search(r'id="modules">(.*?)</script>', text)[1])))
    assert {"app.js", "worker.js", "quickstroke.js"} < set(modules)
    code = "".join(modules[name] for name in modules if name != "quickstroke.js")
    imported = set(re.findall(r'(?:from|import\(?) *"([^"]+)"', code))
    assert imported and imported <= {f"quickstroke/{name}" for name in modules}
    # Nothing that a browser would look for beside the file.
    assert [
        url for url in re.findall(r'(?:src|href)="([^"]*)"', text) if not url.startswith(("data:", "#", "http"))
    ] == []
    assert text.count("<style>") == 1
    assert "Copyright (c) 2017 Matt DesLauriers" in text  # of what writes GIFs
    teaching = json.loads(gzip.decompress(base64.b64decode(inside["teaching.json"])))
    assert teaching["discriminant"] is None and teaching["model_sha256"] == exported.model.card["sha256"]
    assert "default-src 'none'" in text and 'content="offline"' in text
