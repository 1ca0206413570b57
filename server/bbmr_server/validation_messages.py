"""Words: what pydantic finds wrong with a value in, a sentence for who sent it out.

For requests and for settings. Pydantic's own sentences are for programmers ("Input should be a valid integer, unable
to parse string as an integer").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WORDS = {
    "missing": "is missing",
    "bool_parsing": "is true or false",
    "int_parsing": "is a whole number",
    "int_from_float": "is a whole number",
    "int_parsing_size": "is a whole number of fewer digits",
    "float_parsing": "is a number",
    "finite_number": "is a finite number",
    "greater_than": "is more than {gt}",
    "greater_than_equal": "is {ge} or more",
    "less_than_equal": "is {le} or less",
    "string_too_short": "may not be empty",
    "string_too_long": "is no longer than {max_length} characters",
    "literal_error": "is one of {expected}",
}


def in_words(error: Mapping[str, Any]) -> str:
    """What a value may be, as the end of a sentence that begins with its name; without the value itself.

    `error` is an entry of `ValidationError.errors()`. What has no words here keeps pydantic's.
    """
    words = _WORDS.get(error["type"])
    if words is not None:
        bounds = error.get("ctx", {}).items()
        return words.format(
            **{name: int(x) if isinstance(x, float) and x.is_integer() else x for name, x in bounds}
        )
    text = str(error["msg"])
    return (
        text.removeprefix("Value error, ") if error["type"] == "value_error" else text[:1].lower() + text[1:]
    )
