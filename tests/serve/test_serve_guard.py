"""Tokens and how often a client may ask."""

import httpx
import pytest

from quickstroke.errors import ConfigError
from quickstroke.serve.guard import Buckets, network_of, read_tokens
from quickstroke.serve.limits import Refused

TOKEN, OTHER = "0123456789abcdef0123", "fedcba9876543210fedc"
SQUARE = {"strokes": [[[0, 0, 255, 255, 0], [0, 255, 255, 0, 0]]]}


@pytest.fixture
def guarded(new_client, recognizer):
    return new_client(recognizer, tokens=(TOKEN, OTHER))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("token", [TOKEN, OTHER])
def test_each_token_of_the_file_opens(guarded, token):
    assert guarded.post("recognize", SQUARE, headers=bearer(token)).status_code == 200
    assert guarded.get("model", headers={"Authorization": f"bearer  {token} "}).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, bearer(TOKEN[:-1]), bearer(TOKEN + "0"), bearer(""), {"Authorization": TOKEN}, bearer("\u00e9")]
)
def test_without_a_token_the_api_is_closed(guarded, headers):
    headers = {key: value.encode() for key, value in headers.items()}
    for answer in (guarded.post("recognize", SQUARE, headers=headers), guarded.get("metrics", headers=headers)):
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "unauthorized"
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_page_its_documentation_and_whether_the_server_lives_need_none(guarded):
    assert guarded.get("healthz").status_code == guarded.get("/").status_code == guarded.get("/docs").status_code == 200


def test_the_description_for_programs_says_which_requests_need_a_token(guarded, new_client, recognizer):
    told = guarded.get("openapi.json").json()
    (name,) = told["components"]["securitySchemes"]
    assert told["components"]["securitySchemes"][name] == {"type": "http", "scheme": "bearer"}
    assert told["security"] == [{name: []}]
    free = {
        path for path, methods in told["paths"].items() if any(each.get("security") == [] for each in methods.values())
    }
    assert free == {"/api/v1/healthz"}
    assert "security" not in new_client(recognizer).get("openapi.json").json()


def test_a_proxys_path_before_the_api_opens_nothing(new_client, recognizer):
    client = new_client(recognizer, tokens=(TOKEN,), root_path="/sketch")
    assert client.get("/sketch/api/v1/model").status_code == 401
    assert client.get("/sketch/api/v1/model", headers=bearer(TOKEN)).status_code == 404
    assert client.get("/api/v1/model", headers=bearer(TOKEN)).status_code == 200
    assert client.get("/api/v1/openapi.json", headers=bearer(TOKEN)).json()["servers"] == [{"url": "/sketch"}]
    assert "<code>POST /sketch/api/v1/recognize</code>" in client.get("/docs").text


def test_other_origins_ask_beforehand_without_a_token(new_client, recognizer):
    client = new_client(recognizer, cors="https://draw.example", tokens=(TOKEN,))
    asked = {
        "Origin": "https://draw.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type",
    }
    answer = client.send("OPTIONS", "recognize", headers=asked)
    assert answer.status_code == 200
    assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()


def test_a_client_that_asks_too_often_is_told_when_to_try_again(new_client, recognizer):
    client = new_client(recognizer, per_minute=3)
    answers = [client.get("model") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    error = answers[-1].json()["error"]
    assert error["code"] == "too_many_requests" and error["limit"] == 3
    assert answers[-1].headers["Retry-After"] == str(error["retry_after"]) and 0 < error["retry_after"] <= 20
    assert client.get("healthz").status_code == 200
    other = httpx.AsyncClient(transport=httpx.ASGITransport(client.app, client=("10.0.0.9", 1)), base_url="http://x")
    assert client.run(other.get("/api/v1/model")).status_code == 200


def test_who_watches_the_server_may_ask_as_often_as_it_likes(new_client, recognizer):
    client = new_client(recognizer, tokens=(TOKEN,), per_minute=2)
    for _ in range(5):
        assert client.get("metrics", headers=bearer(TOKEN)).status_code == 200
    assert client.post("recognize", SQUARE, headers=bearer(TOKEN)).status_code == 200
    # Who tries tokens is limited there, too.
    assert [client.get("metrics", headers=bearer(OTHER)).status_code for _ in range(3)] == [401, 429, 429]


def test_a_bucket_fills_evenly():
    now = 0.0
    buckets = Buckets(60, clock=lambda: now)
    for _ in range(60):
        buckets.take("10.0.0.1")
    with pytest.raises(Refused) as refused:
        buckets.take("10.0.0.1")
    assert refused.value.facts["retry_after"] == 1
    now = 2.0
    buckets.take("10.0.0.1")
    buckets.take("10.0.0.1")
    with pytest.raises(Refused):
        buckets.take("10.0.0.1")


def test_clients_are_forgotten_before_they_fill_memory():
    buckets = Buckets(1, clock=lambda: 0.0)
    buckets.take("first")
    for i in range(10_000):
        buckets.take(f"client {i}")
    buckets.take("first")
    with pytest.raises(Refused):
        buckets.take("client 9999")


def test_a_household_has_one_network():
    assert network_of("2001:db8:1:2:3::4") == network_of("2001:db8:1:2::9") != network_of("2001:db8:1:3::9")
    assert network_of("::ffff:10.0.0.1") == network_of("10.0.0.1") == "10.0.0.1"
    assert network_of("") == "" and network_of("fe80::1%eth0") == "fe80::/64"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no token"),
        ("# a comment\n\n", "has no token"),
        ("short\n", "line 1 is no token; expected at least 16"),
        (f"{TOKEN}\nwith a space in the middle\n", "line 2 is no token"),
        ("\u00e9" * 20, "byte 0 is no ASCII"),
    ],
)
def test_files_without_tokens(tmp_path, text, reason):
    file = tmp_path / "tokens"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=reason):
        read_tokens(file)
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_tokens(tmp_path / "nowhere")


def test_comments_and_empty_lines_are_no_tokens(tmp_path):
    file = tmp_path / "tokens"
    file.write_text(f"# of the phone\n{TOKEN}\n\n  {OTHER}\n")
    assert read_tokens(file) == (TOKEN, OTHER)
