"""Settings: environment variables and flags in, one checked and frozen object out.

Every setting is `BBMR_` + its name in capitals, has a safe default, and is checked before anything starts.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from bbmr_shared.errors import UsageError
from bbmr_shared.limits import DEFAULT_LIMITS, MIB, Limits

from .validation_messages import in_words

PREFIX = "BBMR_"
CLIENT_VARIABLES = frozenset({"BBMR_SERVER", "BBMR_API_KEY"})
"""Variables with our prefix that belong to the client; not reported as unknown."""

KEY = re.compile(r"(?:(?P<name>[A-Za-z0-9._-]{1,32})[ \t]+)?(?P<secret>[\x21-\x7e]{16,256})")
KEY_WORDS = (
    "each key needs 16 or more printable ASCII characters without spaces; "
    "a name of letters, digits, '.', '_' or '-' and a space may stand before it"
)
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/(?!\.{1,2}(/|$))[A-Za-z0-9._-]+)*/?")
_RATE = re.compile(r"[1-9][0-9]{0,8}/(second|minute|hour|day)( burst [1-9][0-9]{0,8})?")

Origins = Annotated[tuple[str, ...], NoDecode]
Keys = Annotated[tuple[SecretStr, ...], NoDecode]
Names = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """How one server runs. Arguments win over the environment, the environment over the defaults."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, populate_by_name=True)

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    device: Names = Field(
        ("auto",), description="`auto` (every CUDA device, else the CPU), `cpu`, `cuda`, `cuda:0,cuda:1`."
    )
    model: Names = Field(
        ("light",), description="Weights to load, separated by commas; the first is the default."
    )
    threads: int = Field(0, ge=0, le=1024, description="CPU threads of the network; 0: one a core.")
    stage_threads: int = Field(
        0,
        ge=0,
        le=256,
        description="Threads that decode and encode; 0: 2 on a CPU, one a core up to 16 with GPUs.",
    )
    batch: int = Field(
        0,
        ge=0,
        le=256,
        description="Most tiles of equal size that go through the network together; 0: 8, on a CPU fewer large ones.",
    )
    batch_wait_ms: float = Field(
        2.0, ge=0, le=1000, description="Milliseconds that an idle device waits for a batch to fill."
    )
    worker_timeout_s: float = Field(
        60.0,
        gt=0,
        le=3600,
        description="Seconds after which a batch that is not done means that the worker hangs; after a quarter of them "
        "the server is not ready.",
    )
    runtime: Literal["auto", "torch", "torch-float32", "ncnn"] = Field(
        "auto", description="What runs the network: `auto`, `torch`, `torch-float32` or `ncnn`."
    )
    compile: bool = Field(
        False,
        description="Whether torch compiles the network for each shape of a batch; not measured on a GPU.",
    )
    model_dir: str = Field(
        "", description="Folder where NAME.safetensors is looked for before the shipped weights; empty: none."
    )
    max_body_bytes: int = Field(
        DEFAULT_LIMITS.max_container_bytes, ge=1, description="Largest request body in bytes."
    )
    max_pixels: int = Field(DEFAULT_LIMITS.max_pixels, ge=1, description="Largest picture in pixels.")
    body_memory_bytes: int = Field(
        1024 * MIB,
        ge=1,
        description="Bytes that all bodies in memory, and answers not yet taken, may have together.",
    )
    queue_length: int = Field(16, ge=1, le=100_000, description="Requests waiting and running at once.")
    page: bool = Field(True, description="Whether `/` is the page that shows what bbmr does to a photo.")
    encode_pixels: int = Field(
        50_000_000, ge=1, description="Largest photo that is encoded; it takes up to 45 bytes a pixel."
    )
    encode_queue_length: int = Field(
        8, ge=1, le=10_000, description="Photos waiting, encoded and measured at once."
    )
    deadline_s: float = Field(120.0, gt=0, le=86_400, description="Seconds a picture may take once uploaded.")
    upload_timeout_s: float = Field(60.0, gt=0, le=86_400, description="Seconds a body may take to arrive.")
    head_timeout_s: float = Field(
        20.0, gt=0, le=86_400, description="Seconds a connection may be without a whole request head."
    )
    send_timeout_s: float = Field(
        120.0, gt=0, le=86_400, description="Seconds a client may take to take its answer."
    )
    max_connections: int = Field(512, ge=1, le=100_000, description="Connections that are served at once.")
    drain_s: float = Field(20.0, ge=0, le=3600, description="Seconds accepted requests have when stopping.")
    api_keys: Keys = Field(
        (), description="Keys that may reconstruct, separated by commas; empty: open to all."
    )
    api_keys_file: Path | None = Field(None, description="A file with more keys, one a line.")
    rate_limit: str = Field(
        "", description="Requests a key (or, without one, an address) may send, such as `600/minute`."
    )
    forwarded_allow_ips: Names = Field(
        (), description="Reverse proxies whose X-Forwarded-For is believed: addresses, networks or `*`."
    )
    admin_keys: Keys = Field(
        (), description="Keys that may swap weights (POST /admin/…), separated by commas; empty: nobody may."
    )
    cors_origins: Origins = Field((), description="Origins whose pages may call, or `*`; empty: none.")
    log_format: Literal["text", "json"] = Field("text", description="`text` or `json`, on standard error.")
    otel_endpoint: str = Field("", description="Where traces go (OTLP over HTTP); empty: nowhere.")
    store: str = Field(
        "",
        max_length=1024,
        description="Where containers are kept: a directory, or `s3://bucket/prefix`; empty: off.",
    )
    store_max_bytes: int = Field(10 * 1024 * MIB, ge=1, description="Bytes of all containers kept together.")
    store_reads: Literal["keys", "open"] = Field(
        "keys",
        description="`keys`: who reads needs an API key as who writes does; `open`: everybody may read.",
    )
    store_timeout_s: float = Field(
        30.0, gt=0, le=3600, description="Seconds one operation on the disk or service of the store may take."
    )
    picture_cache: Path | None = Field(
        None, description="A directory for pictures of stored containers; empty: none is kept."
    )
    picture_cache_bytes: int = Field(1024 * MIB, ge=1, description="Bytes of all pictures kept together.")
    picture_max_age_s: int = Field(
        3600, ge=0, le=31_536_000, description="Seconds others may keep a picture of a stored container."
    )

    @field_validator(
        "device", "model", "cors_origins", "api_keys", "admin_keys", "forwarded_allow_ips", mode="before"
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("api_keys_file", "picture_cache", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value in (("auto",), ("cpu",), ("cuda",)):
            return value
        if not value or not all(re.fullmatch(r"cuda:\d{1,3}", name) for name in value):
            raise ValueError("is one of auto, cpu, cuda, or a list such as cuda:0,cuda:1")
        if len(set(value)) != len(value):
            raise ValueError("names a device twice")
        return value

    @field_validator("model")
    @classmethod
    def _some_model(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError("names one or more weights, each once")
        return value

    @field_validator("api_keys", "admin_keys")
    @classmethod
    def _strong_keys(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if not all(KEY.fullmatch(key.get_secret_value()) for key in value):
            raise ValueError(KEY_WORDS)
        return value

    @field_validator("store")
    @classmethod
    def _known_store(cls, value: str) -> str:
        if ("://" in value or value.startswith("s3:")) and not _BUCKET.fullmatch(value):
            raise ValueError(
                "is a directory, or s3://bucket/prefix; keys of S3 go into AWS_ACCESS_KEY_ID and so on"
            )
        return value

    @field_validator("rate_limit")
    @classmethod
    def _known_rate(cls, value: str) -> str:
        if value and not _RATE.fullmatch(value):
            raise ValueError(
                "is a number a second, minute, hour or day, such as 600/minute or 5/second burst 20"
            )
        return value

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _known_proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in value:
            try:
                if proxy != "*":
                    ipaddress.ip_network(proxy)
            except ValueError:
                raise ValueError("each is an address, a network such as 10.0.0.0/8, or *") from None
        return value

    @field_validator("otel_endpoint")
    @classmethod
    def _whole_endpoint(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[^\s@?#]+", value):
            raise ValueError("is the address of a collector, such as http://localhost:4318")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _whole_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" and not re.fullmatch(r"https?://[^/\s?#]+", origin):
                raise ValueError("each origin is scheme and host without a path, such as https://example.org")
        return value

    @model_validator(mode="after")
    def _room_for_one_body(self) -> Settings:
        if self.body_memory_bytes < self.max_body_bytes:
            raise ValueError(
                "BBMR_BODY_MEMORY_BYTES is below BBMR_MAX_BODY_BYTES, so no such body could come in"
            )
        return self

    @property
    def limits(self) -> Limits:
        """The limits every container of a request is held to."""
        return replace(
            DEFAULT_LIMITS,
            max_container_bytes=self.max_body_bytes,
            max_pixels=self.max_pixels,
            max_plane_bytes=min(DEFAULT_LIMITS.max_plane_bytes, self.max_body_bytes),
        )

    @property
    def public(self) -> bool:
        """Whether the address can be reached from other machines, as far as its text tells."""
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"

    @property
    def open_to_the_network(self) -> bool:
        """Whether anybody who reaches the address may use the server."""
        return not self.api_keys and self.api_keys_file is None and self.public


def load_settings(**flags: object) -> Settings:
    """The settings of this process; `flags` that are None are as if not given.

    Raises:
        UsageError: names each bad variable and says what it may be; values of secrets are not repeated.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        raise UsageError("; ".join(_sentence(entry) for entry in error.errors())) from None


def unknown_variables(environ: Mapping[str, str] = os.environ) -> list[str]:
    """One warning for each variable with our prefix that is no setting: most likely a typing error."""
    known = sorted(PREFIX + name.upper() for name in Settings.model_fields)
    warnings = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known and name not in CLIENT_VARIABLES:
            near = difflib.get_close_matches(name, known, n=1)
            warnings.append(f"{name} is no setting" + (f"; is {near[0]} meant?" if near else ""))
    return warnings


def _sentence(error: Mapping[str, Any]) -> str:
    if not error["loc"]:
        return in_words(error)
    text = f"{PREFIX}{str(error['loc'][0]).upper()}: {in_words(error)}"
    # Numbers and choices are no secrets, and whoever wrote 1MB wants to see that it is that.
    told = error["input"] if error["type"] != "value_error" and isinstance(error["input"], str) else ""
    return text + (f", not {told[:32]!r}" if told else "")
