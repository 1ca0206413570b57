"""The sections of the settings: their fields, defaults, bounds and checks.

A field's alias, or else its name, is the setting's flat name: `store_max_bytes` is BBMR_STORE_MAX_BYTES and lies at
`settings.store.max_bytes`. Flat names are unique across the sections.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from bbmr_shared.limits import DEFAULT_LIMITS, MIB

DAY_S = 86_400
KEY = re.compile(r"(?:(?P<name>[A-Za-z0-9._-]{1,32})[ \t]+)?(?P<secret>[\x21-\x7e]{16,256})")
KEY_RULE = (
    "each key needs 16 or more printable ASCII characters without spaces; "
    "a name of letters, digits, '.', '_' or '-' and a space may stand before it"
)
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/(?!\.{1,2}(/|$))[A-Za-z0-9._-]+)*/?")
_RATE = re.compile(r"[1-9][0-9]{0,8}/(second|minute|hour|day)( burst [1-9][0-9]{0,8})?")


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


def _known_devices(value: tuple[str, ...]) -> tuple[str, ...]:
    if value in (("auto",), ("cpu",), ("cuda",)):
        return value
    if not value or not all(re.fullmatch(r"cuda:\d{1,3}", name) for name in value):
        raise ValueError("is one of auto, cpu, cuda, or a list such as cuda:0,cuda:1")
    if len(set(value)) != len(value):
        raise ValueError("names a device twice")
    return value


def _distinct_models(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or len(set(value)) != len(value):
        raise ValueError("names one or more weights, each once")
    return value


def _well_formed_keys(value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    if not all(KEY.fullmatch(key.get_secret_value()) for key in value):
        raise ValueError(KEY_RULE)
    return value


def _known_location(value: str) -> str:
    if ("://" in value or value.startswith("s3:")) and not _BUCKET.fullmatch(value):
        raise ValueError(
            "is a directory, or s3://bucket/prefix; keys of S3 go into AWS_ACCESS_KEY_ID and so on"
        )
    return value


def _known_rate(value: str) -> str:
    if value and not _RATE.fullmatch(value):
        raise ValueError("is a number a second, minute, hour or day, such as 600/minute or 5/second burst 20")
    return value


def _known_proxies(value: tuple[str, ...]) -> tuple[str, ...]:
    for proxy in value:
        try:
            if proxy != "*":
                ipaddress.ip_network(proxy)
        except ValueError:
            raise ValueError("each is an address, a network such as 10.0.0.0/8, or *") from None
    return value


def _collector_address(value: str) -> str:
    if value and not re.fullmatch(r"https?://[^\s@?#]+", value):
        raise ValueError("is the address of a collector, such as http://localhost:4318")
    return value


def _whole_origins(value: tuple[str, ...]) -> tuple[str, ...]:
    for origin in value:
        if origin != "*" and not re.fullmatch(r"https?://[^/\s?#]+", origin):
            raise ValueError("each origin is scheme and host without a path, such as https://example.org")
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Keys = Annotated[tuple[SecretStr, ...], BeforeValidator(_split), AfterValidator(_well_formed_keys)]
OptionalPath = Annotated[Path | None, BeforeValidator(_empty_is_none)]


class Section(BaseModel):
    """Base of the sections."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class HttpSettings(Section):
    """Where the server listens, and what bounds a request."""

    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="address to listen on; without API keys the server warns of any but the loopback",
    )
    port: int = Field(8000, ge=0, le=65_535, description="port to listen on; 0 takes a free one")
    max_body_bytes: int = Field(
        DEFAULT_LIMITS.max_container_bytes, ge=1, description="largest request body in bytes"
    )
    body_memory_bytes: int = Field(
        1024 * MIB, ge=1, description="bytes in memory of all bodies, and of answers that are being sent"
    )
    max_pixels: int = Field(
        DEFAULT_LIMITS.max_pixels,
        ge=1,
        description="largest picture in pixels; also all pictures in memory together",
    )
    deadline_s: float = Field(
        120.0, gt=0, le=DAY_S, description="seconds that a picture may take once its body is there"
    )
    upload_timeout_s: float = Field(
        60.0, gt=0, le=DAY_S, description="seconds that a body may take to arrive"
    )
    head_timeout_s: float = Field(
        20.0, gt=0, le=DAY_S, description="seconds that a connection may be without a complete request head"
    )
    send_timeout_s: float = Field(
        120.0, gt=0, le=DAY_S, description="seconds that a client may take to receive its answer"
    )
    max_connections: int = Field(
        512, ge=1, le=100_000, description="connections that are served at the same time"
    )
    drain_s: float = Field(
        20.0, ge=0, le=3600, description="seconds that accepted requests have when the server stops"
    )
    forwarded_allow_ips: Annotated[Names, AfterValidator(_known_proxies)] = Field(
        (), description="reverse proxies whose `X-Forwarded-For` is trusted: addresses, networks or `*`"
    )
    cors_origins: Annotated[Names, AfterValidator(_whole_origins)] = Field(
        (), description="origins whose pages may call the server, such as `https://example.org`, or `*`"
    )

    @model_validator(mode="after")
    def _room_for_one_body(self) -> HttpSettings:
        if self.body_memory_bytes < self.max_body_bytes:
            raise ValueError(
                "BBMR_BODY_MEMORY_BYTES is below BBMR_MAX_BODY_BYTES, so no such body could come in"
            )
        return self

    @property
    def public(self) -> bool:
        """Whether other machines may reach the address, as far as its text shows."""
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"


class AccessSettings(Section):
    """Who may use the server, and how often."""

    api_keys: Keys = Field(
        (), description="keys that may use the server, separated by commas; none: everybody may"
    )
    api_keys_file: OptionalPath = Field(None, description="a file with more keys, one a line")
    admin_keys: Keys = Field(
        (), description="keys that may swap weights (`POST /admin/models/{name}`); none: nobody may"
    )
    rate_limit: Annotated[str, AfterValidator(_known_rate)] = Field(
        "", description="requests of one key, or of one address without a key, such as `600/minute`"
    )


class EngineSettings(Section):
    """Which weights run on which devices, and how many requests wait for them."""

    device: Annotated[Names, AfterValidator(_known_devices)] = Field(
        ("auto",),
        description="every GPU that torch can use (NVIDIA, Jetson, AMD with ROCm: all are `cuda`), else the CPU; "
        "or `cpu`, `cuda`, `cuda:0,cuda:1`; one worker each",
    )
    model: Annotated[Names, AfterValidator(_distinct_models)] = Field(
        ("light",), description="weights to load, separated by commas; the first is the default"
    )
    model_dir: str = Field(
        "", description="a folder with NAME.safetensors files that are preferred to the shipped weights"
    )
    runtime: Literal["auto", "torch", "torch-float32", "ncnn"] = Field(
        "auto",
        description="what runs the network; `auto` takes the fastest that is installed",
    )
    compile: bool = Field(False, description="whether torch compiles the network for each batch shape")
    threads: int = Field(0, ge=0, le=1024, description="CPU threads of the network; 0: one a core")
    stage_threads: int = Field(
        0,
        ge=0,
        le=256,
        description="threads that decode and encode; 0: 2 on a CPU, one a core up to 16 with GPUs",
    )
    batch: int = Field(
        0,
        ge=0,
        le=256,
        description="most tiles that go through the network together; 0: 8, and on a CPU at most 600 000 pixels",
    )
    batch_wait_ms: float = Field(
        2.0,
        ge=0,
        le=1000,
        description="milliseconds that an idle device waits for a batch to fill; not on a CPU with BBMR_BATCH 0",
    )
    worker_timeout_s: float = Field(
        60.0,
        gt=0,
        le=3600,
        description="seconds after which a worker that has not done its batch is started again; "
        "after a quarter of them `/readyz` answers 503 if it was the only one",
    )
    queue_length: int = Field(
        16, ge=1, le=100_000, description="pictures that are accepted and not finished at the same time"
    )


class PageSettings(Section):
    """The page, and the encoding of photos for it and for `POST /encode`."""

    enabled: bool = Field(
        True, alias="page", description="whether `/` is the page; `false`: one without a script"
    )
    encode_pixels: int = Field(
        50_000_000,
        ge=1,
        description="largest photo in pixels that is encoded; it takes up to 45 bytes a pixel",
    )
    encode_queue_length: int = Field(
        8, ge=1, le=10_000, description="photos that wait, are encoded or measured at the same time"
    )


class StoreSettings(Section):
    """Where containers are kept, and for how long pictures of them are cached."""

    location: Annotated[str, AfterValidator(_known_location)] = Field(
        "",
        max_length=1024,
        alias="store",
        description="where containers are kept: a directory, or `s3://bucket/prefix`; none: nowhere",
    )
    max_bytes: int = Field(
        10 * 1024 * MIB,
        ge=1,
        alias="store_max_bytes",
        description="bytes of all containers together, each in whole blocks of 4096",
    )
    reads: Literal["keys", "open"] = Field(
        "keys",
        alias="store_reads",
        description="`keys`: reading needs an API key, as writing does; `open`: everybody may read",
    )
    timeout_s: float = Field(
        30.0,
        gt=0,
        le=3600,
        alias="store_timeout_s",
        description="seconds that one operation on the disk or S3 may take",
    )
    picture_cache: OptionalPath = Field(
        None, description="a directory for pictures of stored containers, one for each server"
    )
    picture_cache_bytes: int = Field(1024 * MIB, ge=1, description="bytes of all cached pictures together")
    picture_max_age_s: int = Field(
        3600, ge=0, le=31_536_000, description="seconds for which clients may cache a stored picture"
    )


class ObservabilitySettings(Section):
    """Logs and traces."""

    log_format: Literal["text", "json"] = Field("text", description="format of the log on standard error")
    otel_endpoint: Annotated[str, AfterValidator(_collector_address)] = Field(
        "", description="where traces go, such as `http://localhost:4318`"
    )
