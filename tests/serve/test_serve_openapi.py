"""What OpenAPI says is true: of its examples, and of whatever can be made up from its schemas and against them."""

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings

from quickstroke.serve.app import create_app
from quickstroke.serve.limits import Limits

LIMITS = Limits(strokes=3, points=12, drawings=2, body_s=600.0, work_s=600.0)
PATHS = ["recognize", "recognize-batch", "model", "healthz", "metrics"]
POSTS = PATHS[:2]
PICTURE = "recognize-picture"

# The same cases each time, and few of them.
bounded = settings(
    derandomize=True, database=None, deadline=None, max_examples=40, suppress_health_check=list(HealthCheck)
)


@pytest.fixture
def document(client):
    return client.get("openapi.json").json()


@pytest.fixture(scope="module")
def api(recognizer):
    # Where it is needed: its import takes a second of every process that collects tests.
    import schemathesis

    return schemathesis.openapi.from_asgi("/api/v1/openapi.json", create_app(recognizer, LIMITS))


def operation_of(document, name):
    methods = document["paths"][f"/api/v1/{name}"]
    assert methods.keys() == ({"post"} if name in (*POSTS, PICTURE) else {"get"})
    return next(iter(methods.values()))


def validator(document, schema):
    return jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]})


# --- examples


def test_the_document_has_every_path_and_nothing_else(document):
    assert document["openapi"].startswith("3.1")
    assert document["paths"].keys() == {f"/api/v1/{name}" for name in (*PATHS, PICTURE)}
    assert all(operation_of(document, name)["description"] for name in (*PATHS, PICTURE))


@pytest.mark.parametrize("name", POSTS)
def test_examples_of_requests_are_valid_and_answered_as_described(client, document, name):
    operation = operation_of(document, name)
    content = operation["requestBody"]["content"]["application/json"]
    described = operation["responses"]["200"]["content"]["application/json"]
    assert content["examples"]
    for example in content["examples"].values():
        assert example["summary"]
        validator(document, content["schema"]).validate(example["value"])
        answer = client.post(name, example["value"])
        assert answer.status_code == 200
        validator(document, described["schema"]).validate(answer.json())
        assert answer.json().keys() == described["example"].keys()


def test_examples_of_answers_are_valid(document):
    n = 0
    for name in (*PATHS, PICTURE):
        for status, response in operation_of(document, name)["responses"].items():
            assert response["description"]
            content = response["content"].get("application/json", {})
            if "example" in content:
                validator(document, content["schema"]).validate(content["example"])
                n += 1
            else:
                assert name not in (*POSTS, PICTURE) and status == "200"
    assert n == 2 * (1 + 9) + 11


def test_a_picture_is_described(client, document, picture):
    operation = operation_of(document, PICTURE)
    assert operation["requestBody"]["content"].keys() == {"image/png", "image/jpeg", "image/webp"}
    assert {each["name"]: each["in"] for each in operation["parameters"]} == {"top": "query", "words": "query"}
    described = operation["responses"]["200"]["content"]["application/json"]
    answer = client.post(PICTURE, content=picture(), headers={"Content-Type": "image/png"})
    validator(document, described["schema"]).validate(answer.json())
    assert answer.json().keys() == described["example"].keys()
    assert "image/webp" in client.get("/docs").text


@pytest.mark.parametrize("name", ["model", "healthz"])
def test_answers_are_as_described(client, document, name):
    schema = operation_of(document, name)["responses"]["200"]["content"]["application/json"]["schema"]
    validator(document, schema).validate(client.get(name).json())


def test_limits_are_described(new_client, recognizer):
    document = new_client(recognizer, LIMITS).get("openapi.json").json()

    def properties(name):
        return operation_of(document, name)["requestBody"]["content"]["application/json"]["schema"]["properties"]

    assert properties("recognize")["top"]["minimum"] == 1
    drawings = properties("recognize-batch")["drawings"]
    assert drawings["maxItems"] == 2
    for strokes in (properties("recognize")["strokes"], drawings["items"]):
        assert strokes["maxItems"] == 3
        columns, points = strokes["items"]["anyOf"]
        assert columns["items"]["maxItems"] == points["maxItems"] == 12


# --- made up


@pytest.mark.parametrize("name", PATHS)
def test_what_the_schema_allows(api, name):
    """It is answered as described. What is refused breaks a rule that a JSON schema cannot tell."""
    from schemathesis.checks import positive_data_acceptance

    codes = set()

    @bounded
    @given(operation_case(api, name))
    def check(case):
        response = case.call_and_validate(excluded_checks=[positive_data_acceptance])
        codes.add(response.json()["error"]["code"] if response.status_code != 200 else "ok")

    check()
    allowed = {"ok", "invalid_stroke", "not_simplified", "too_many_points"} if name in POSTS else {"ok"}
    if name == "recognize-batch":  # several drawings with too many points have too many lists
        allowed.add("too_many_strokes")
    assert codes <= allowed


@pytest.mark.parametrize("name", POSTS)
def test_what_the_schema_allows_and_cannot_tell_is_accepted(api, name):
    @bounded
    @given(operation_case(api, name).map(made_even))
    def check(case):
        assert case.call_and_validate().status_code == 200

    check()


@pytest.mark.parametrize("name", POSTS)
def test_what_the_schema_does_not_allow_is_refused(api, name):
    from schemathesis.checks import negative_data_rejection

    statuses = set()

    @bounded
    @given(operation_case(api, name, "negative"))
    def check(case):
        response = case.call_and_validate(excluded_checks=[negative_data_rejection] if name == POSTS[1] else [])
        if name == POSTS[1] and response.status_code == 200:  # then a drawing is wrong, and has its own error
            statuses.add(422 if any("error" in each for each in response.json()["results"]) else 200)
        else:
            statuses.add(response.status_code)

    check()
    assert statuses and min(statuses) >= 400 and max(statuses) < 500


def operation_case(api, name, mode="positive"):
    from schemathesis import GenerationMode

    operation = api[f"/api/v1/{name}"]["POST" if name in POSTS else "GET"]
    return operation.as_strategy(generation_mode=GenerationMode(mode))


def made_even(case):
    """A case whose rows are equally long, in one layout, as short as the limit of points asks, and whose numbers fit
    `simplified`."""

    def even(strokes):
        layout = case.body.get("layout", "auto")
        is_points = layout == "points" or (layout == "auto" and len(strokes[0]) not in (2, 3))
        most = LIMITS.points // LIMITS.strokes
        for rows in strokes:
            if is_points:
                rows[:] = [(row * 2)[:2] for row in rows[:most]]
            else:
                n = min(*map(len, rows), most) if len(rows) > 1 else 1
                rows[:] = [row[:n] for row in (rows * 2)[:2]]
            rows[:] = [[int(abs(x)) % 256 if case.body.get("simplified") else x for x in row] for row in rows]

    for strokes in case.body.get("drawings", [case.body.get("strokes")]):
        even(strokes)
    return case
