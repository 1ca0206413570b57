"""Words an error of pydantic for the user who sent the value. Settings and requests use it.

Pydantic's own sentences are for programmers ("Input should be a valid integer, unable to parse string as an integer").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MESSAGES = {
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
"""Error type of pydantic → message; pydantic's `ctx` fills the gaps."""


def describe_error(error: Mapping[str, Any]) -> str:
    """Returns what a value may be, as the end of a sentence that begins with its name; the value is not repeated.

    `error` is an entry of `ValidationError.errors()`. Types without a message here keep pydantic's sentence.
    """
    message = _MESSAGES.get(error["type"])
    if message is not None:
        bounds = error.get("ctx", {}).items()
        return message.format(
            **{name: int(x) if isinstance(x, float) and x.is_integer() else x for name, x in bounds}
        )
    text = str(error["msg"])
    return (
        text.removeprefix("Value error, ") if error["type"] == "value_error" else text[:1].lower() + text[1:]
    )
