"""Reads the settings from arguments and the environment, and words what is wrong with them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from pydantic import ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bbmr_server.validation_messages import describe_error
from bbmr_shared.errors import UsageError
from bbmr_shared.limits import DEFAULT_LIMITS, Limits

from . import sections

PREFIX = "BBMR_"
CLIENT_VARIABLES = frozenset({"BBMR_SERVER", "BBMR_API_KEY"})
"""Variables with the same prefix that belong to the client; they are not reported as unknown."""


class Place(NamedTuple):
    """Where a setting lies: `settings.<section>.<attribute>`."""

    section: str
    attribute: str
    field: FieldInfo


class Settings(BaseSettings):
    """How one server runs. Arguments win over the environment, the environment over the defaults.

    Arguments have flat names: `Settings(port=0, store="/srv/containers")`.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    http: sections.HttpSettings
    access: sections.AccessSettings
    engine: sections.EngineSettings
    page: sections.PageSettings
    store: sections.StoreSettings
    observability: sections.ObservabilitySettings

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """As pydantic-settings asks; the first source wins."""
        return init_settings, _Environment(settings_cls)

    @model_validator(mode="before")
    @classmethod
    def _into_sections(cls, values: dict[str, Any]) -> dict[str, Any]:
        places = settings_by_name()
        sections: dict[str, Any] = {section: {} for section in cls.model_fields}
        unknown = {name: value for name, value in values.items() if name not in places}
        if nested := unknown.keys() & sections.keys():
            raise ValueError(f"{nested.pop()} is a section; pass its settings by their flat names")
        for name in values.keys() & places.keys():
            sections[places[name].section][name] = values[name]
        return unknown | sections

    def with_changes(self, **values: object) -> Settings:
        """Returns a copy in which the settings with these flat names have other values. They are not checked."""
        changes: dict[str, dict[str, object]] = {}
        for name, value in values.items():
            place = settings_by_name()[name]
            changes.setdefault(place.section, {})[place.attribute] = value
        sections = {name: getattr(self, name).model_copy(update=each) for name, each in changes.items()}
        return self.model_copy(update=sections)

    @property
    def limits(self) -> Limits:
        """The limits for every container in a request."""
        return replace(
            DEFAULT_LIMITS,
            max_container_bytes=self.http.max_body_bytes,
            max_pixels=self.http.max_pixels,
            max_plane_bytes=min(DEFAULT_LIMITS.max_plane_bytes, self.http.max_body_bytes),
        )

    @property
    def open_to_the_network(self) -> bool:
        """Whether anybody who reaches the address may use the server."""
        return not self.access.api_keys and self.access.api_keys_file is None and self.http.public


class _Environment(PydanticBaseSettingsSource):
    """Reads `BBMR_` + flat name, in any case, into a flat mapping."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError  # only `__call__` is used here

    def __call__(self) -> dict[str, Any]:
        environ = {name.upper(): value for name, value in os.environ.items()}
        return {name: environ[variable] for variable, name in variables().items() if variable in environ}


def settings_by_name() -> dict[str, Place]:
    """Returns the place of every setting by its flat name."""
    return {
        field.alias or attribute: Place(section, attribute, field)
        for section, holder in Settings.model_fields.items()
        for attribute, field in holder.annotation.model_fields.items()  # type: ignore[union-attr]
    }


def variables() -> dict[str, str]:
    """Returns environment variable → flat name, for every setting."""
    return {PREFIX + name.upper(): name for name in settings_by_name()}


def load_settings(**flags: object) -> Settings:
    """Returns the settings of this process. A flag that is None counts as absent.

    Raises:
        UsageError: a value is bad; the message names each bad variable and what it may be, and repeats no secret.
    """
    values = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**values)
    except ValidationError as error:
        raise UsageError("; ".join(_sentence(entry) for entry in error.errors())) from None


def unknown_variables(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Returns a warning for each variable with the prefix that is no setting: most likely a typing error."""
    known = sorted(variables())
    warnings = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known and name not in CLIENT_VARIABLES:
            near = difflib.get_close_matches(name, known, n=1)
            warnings.append(f"{name} is no setting" + (f"; is {near[0]} meant?" if near else ""))
    return warnings


def _sentence(error: Mapping[str, Any]) -> str:
    name = _name_of(error["loc"])
    if name is None:
        return describe_error(error)
    # Numbers and choices are no secrets, and the sentence helps more with the value in it.
    value = error["input"] if error["type"] != "value_error" and isinstance(error["input"], str) else ""
    return f"{PREFIX}{name.upper()}: {describe_error(error)}" + (f", not {value[:32]!r}" if value else "")


def _name_of(location: tuple[str | int, ...]) -> str | None:
    """Returns the flat name of the setting at this place of a `ValidationError`, or None for a whole section."""
    if len(location) > 1:
        return str(location[1])
    return str(location[0]) if location and location[0] not in Settings.model_fields else None
