"""The JSON of the API. What goes in is strict: numbers are numbers and finite, and no key is unknown."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field, TypeAdapter, WithJsonSchema

from quickstroke.drawings.layouts import Layout, LayoutChoice

# FailFast, as a body of a million wrong values would otherwise give a million errors.
Number = Annotated[float, Field(allow_inf_nan=False)]
Row = Annotated[list[Number], Field(min_length=1), FailFast()]
# What pydantic looks at; `layouts.decide` sees which of the two it is, and the schema tells both.
_NUMBERS = {"type": "array", "items": {"type": "number"}}
Stroke = Annotated[
    list[Row],
    Field(min_length=1),
    FailFast(),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "title": "columns",
                    "description": "[[x..], [y..]] or [[x..], [y..], [t..]], rows of equal length.",
                    "type": "array",
                    "items": {**_NUMBERS, "minItems": 1},
                    "minItems": 2,
                    "maxItems": 3,
                },
                {
                    "title": "points",
                    "description": "[[x, y], ..] or [[x, y, t], ..].",
                    "type": "array",
                    "items": {**_NUMBERS, "minItems": 2, "maxItems": 3},
                    "minItems": 1,
                },
            ]
        }
    ),
]
Strokes = Annotated[
    list[Stroke],
    FailFast(),
    Field(
        min_length=1,
        description="Strokes in the order in which they were drawn: all of them columns, each [[x..], [y..]] or "
        "[[x..], [y..], [t..]] with rows of equal length, or all of them points, each [[x, y], ..] or [[x, y, t], ..]; "
        "y grows downwards, and times are not looked at.",
    ),
]

# What is compared with the words of a model, of which there are fewer and shorter ones.
_MOST_WORDS = 10_000
_Words = list[Annotated[str, Field(max_length=200)]]


class _Asked(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    simplified: Annotated[
        bool,
        Field(
            description="Whether the drawing is in Google's simplified form already: integers from 0 to 255. Otherwise "
            "coordinates are in the pen's own units, and the server simplifies."
        ),
    ] = False
    top: Annotated[
        int,
        Field(ge=1, description="How many words; fewer come back when the model knows fewer."),
        # 5.0 is an integer, too: in JSON, and in JSON Schema.
        BeforeValidator(lambda value: int(value) if isinstance(value, float) and value.is_integer() else value),
    ] = 5
    layout: Annotated[
        LayoutChoice,
        Field(
            description="How strokes are written. `auto` sees it for each drawing: one stroke that can only be one of "
            "them decides. A stroke of 2 or 3 rows of 2 or 3 numbers can be both; where all are so, they are read as "
            "columns. The answer says which was read."
        ),
    ] = "auto"
    words: Annotated[
        _Words | None,
        Field(
            min_length=1,
            max_length=_MOST_WORDS,
            description="Choose among these words of the model alone; their probabilities sum to 1. Null: all of them.",
        ),
    ] = None


class RecognizeRequest(_Asked):
    """One drawing."""

    strokes: Strokes


class RecognizeBatchRequest(_Asked):
    """Several drawings, each as the `strokes` of one."""

    drawings: Annotated[
        list[Any],  # each is looked at by itself, so that a wrong one leaves the others their guesses
        Field(min_length=1),
        WithJsonSchema(
            {
                "type": "array",
                "description": "Drawings, each a list of strokes. One that is wrong has an error among the results.",
                "items": TypeAdapter(Strokes).json_schema(),
                "minItems": 1,
            }
        ),
    ]


class PictureQuery(BaseModel):
    """What is asked about a picture, in the address of the request."""

    model_config = ConfigDict(extra="forbid")

    top: Annotated[int, Field(ge=1, description="How many words.")] = 5
    words: Annotated[
        _Words | None,
        Field(max_length=_MOST_WORDS, description="Choose among these words alone: one `words=` for each."),
    ] = None


class GuessBody(BaseModel):
    """A word with the probability that the model gives it."""

    word: str
    probability: Annotated[float, Field(ge=0, le=1)]


class _Ranked(BaseModel):
    guesses: Annotated[
        list[GuessBody],
        Field(description="The most probable first; probabilities given that the drawing shows one of the words."),
    ]
    unknown: Annotated[
        float | None,
        Field(ge=0, le=1, description="Probability that it shows none of the words; null where nothing was fitted."),
    ]


class Guesses(_Ranked):
    """Words for one drawing."""

    layout: Annotated[Layout, Field(description="How the drawing's strokes were read.")]


class _Answered(BaseModel):
    model: Annotated[str, Field(description="The model's name.")]
    ms: Annotated[
        float,
        Field(ge=0, description="Milliseconds from the end of the request's body to the answer, waiting included."),
    ]


class RecognizeAnswer(Guesses, _Answered):
    """Words for the drawing."""


class PictureAnswer(_Ranked, _Answered):
    """Words for the drawing that a picture shows."""

    strokes: Annotated[
        list[list[list[int]]],
        Field(description="What was read, simplified: strokes [[x..], [y..]], integers from 0 to 255."),
    ]


class ModelAnswer(BaseModel):
    """The model behind the API."""

    name: str
    classes: Annotated[list[str], Field(description="Every word that it knows, in the order of its output layer.")]
    note: Annotated[str, Field(description="What had to be assumed when it was loaded; mostly empty.")]
    card: Annotated[
        dict[str, Any] | None,
        Field(description="Its card: configuration, preprocessing, figures and more; null for a model without one."),
    ]
    limits: Annotated[dict[str, int | float], Field(description="What a request may ask for.")]


class HealthAnswer(BaseModel):
    """The server answers."""

    status: str
    model: str


class ErrorDetail(BaseModel):
    """What is wrong; further entries depend on `code`."""

    model_config = ConfigDict(extra="allow")

    code: Annotated[str, Field(description="What is wrong, for programs.")]
    message: Annotated[str, Field(description="The same for people.")]
    field: Annotated[str | None, Field(description="Where in the body.")] = None
    limit: Annotated[float | None, Field(description="The limit that was passed.")] = None


class ErrorAnswer(BaseModel):
    """Every error has this form."""

    error: ErrorDetail


class RecognizeBatchAnswer(_Answered):
    """Words for each drawing, or what is wrong with it."""

    results: Annotated[list[Guesses | ErrorAnswer], Field(description="In the order of the drawings.")]


# --- examples, shown by OpenAPI

_TRIANGLE = [[[10, 200, 198], [10, 12, 190]], [[198, 12, 10], [190, 188, 10]]]
_CIRCLE = [[[64, 20, 0, 22, 66, 108, 128, 106, 64], [0, 20, 66, 108, 128, 110, 64, 18, 0]]]
_PEN = [
    [[301.5, 304.25, 391, 388.5], [120, 121.75, 117.5, 205], [0, 17, 34, 51]],
    [[390, 302], [204.5, 121], [602, 619]],
]
_POINTS = [[[301.5, 120], [391, 117.5], [388.5, 205]], [[390, 204.5], [302, 121]]]

RECOGNIZE_EXAMPLES = {
    "raw": {"summary": "as the pen gave it, in columns, with times", "value": {"strokes": _PEN, "top": 3}},
    "points": {
        "summary": "as points; said to be so, as each stroke has two or three",
        "value": {"strokes": _POINTS, "layout": "points"},
    },
    "simplified": {"summary": "as Google publishes drawings", "value": {"strokes": _TRIANGLE, "simplified": True}},
}
RECOGNIZE_ANSWER = {
    "guesses": [{"word": "triangle", "probability": 0.875}, {"word": "tent", "probability": 0.0625}],
    "unknown": 0.125,
    "layout": "columns",
    "model": "simple_lay1_sz64",
    "ms": 2.625,
}
PICTURE_ANSWER = {
    "guesses": [{"word": "triangle", "probability": 0.875}],
    "unknown": 0.125,
    "strokes": _TRIANGLE,
    "model": "simple_lay1_sz64",
    "ms": 42.5,
}
BATCH_EXAMPLES = {"two": {"summary": "two drawings", "value": {"drawings": [_TRIANGLE, _CIRCLE], "top": 1}}}
BATCH_ANSWER = {
    "results": [
        {"guesses": [{"word": "triangle", "probability": 0.875}], "unknown": 0.125, "layout": "columns"},
        {"guesses": [{"word": "circle", "probability": 0.9375}], "unknown": 0.0625, "layout": "columns"},
    ],
    "model": "simple_lay1_sz64",
    "ms": 3.125,
}
