"""The client's settings file, in TOML. It holds defaults of options; all of them may be left out.

    server = ["https://one.example", "https://two.example"]
    api_key = "…"

    [encode]
    quality = 60

The variable BBMR_CONFIG names the file (empty: no file is read); without it, it is config.toml in the user's folder for
settings. Options and environment variables win over it.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from bbmr_client.files import FileAccessError, read_file
from bbmr_shared.errors import UsageError
from bbmr_shared.images.names import LOSSLESS_CODECS, LOSSY_CODECS
from bbmr_shared.limits import MAX_CONFIG_BYTES

CONFIG_VARIABLE = "BBMR_CONFIG"


@dataclass(frozen=True)
class EncodeDefaults:
    """The table [encode]: defaults of `bbmr-client encode`. None: the file does not set it."""

    quality: int | None = None
    bpp: float | None = None
    max_bytes: int | None = None
    target_psnr: float | None = None
    rate: float | None = None
    rates: tuple[int, ...] | None = None
    codec: str | None = None
    effort: int | None = None
    metadata: str | None = None
    alpha_quality: int | None = None
    keep_smaller: bool | None = None

    def values(self) -> dict[str, object]:
        """Returns setting → value."""
        return asdict(self)

    def lossless(self) -> EncodeDefaults:
        """Returns the same without the settings that lose pixels."""
        return replace(self.without_budget(), rate=1.0, rates=(1,), alpha_quality=None)

    def without_budget(self) -> EncodeDefaults:
        """Returns the same without the settings that an option for another budget replaces."""
        return replace(self, quality=None, bpp=None, max_bytes=None, target_psnr=None, rate=None)


@dataclass(frozen=True)
class Config:
    """The settings; None and empty: not set. `path` is the file; relative names in it start at its folder."""

    path: Path | None = None
    server: tuple[str, ...] = ()
    api_key: str | None = field(default=None, repr=False)
    timeout: float | None = None
    connect_timeout: float | None = None
    retries: int | None = None
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    insecure: bool | None = None
    encode: EncodeDefaults = EncodeDefaults()

    @property
    def caution(self) -> str | None:
        """A warning if others can read the key in this file, or None."""
        if self.api_key is None or self.path is None or sys.platform == "win32":
            return None
        if not self.path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            return None
        return f"{self.path} holds an API key and can be read by others: chmod 600 {self.path}"


@dataclass(frozen=True)
class _Setting:
    """The type of a setting, and for [encode] the values it may have: a choice, or a range (least, greatest)."""

    kind: type
    choices: tuple[str, ...] = ()
    limits: tuple[int, int] | None = None

    @property
    def meaning(self) -> str:
        if self.choices:
            return " or ".join(self.choices)
        name = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}[self.kind]
        return name if self.limits is None else f"{name} from {self.limits[0]} to {self.limits[1]}"

    def allows(self, value: object) -> bool:
        if isinstance(value, bool):
            return self.kind is bool
        if not isinstance(value, (int, float) if self.kind is float else self.kind):
            return False
        if self.choices:
            return value in self.choices
        return self.limits is None or self.limits[0] <= value <= self.limits[1]  # type: ignore[operator]


_SETTINGS = {
    "server": _Setting(str),
    "api_key": _Setting(str),
    "timeout": _Setting(float),
    "connect_timeout": _Setting(float),
    "retries": _Setting(int),
    "ca_file": _Setting(str),
    "client_cert": _Setting(str),
    "client_key": _Setting(str),
    "insecure": _Setting(bool),
    "encode": _Setting(dict),
}
_ENCODE = {
    "quality": _Setting(int, limits=(0, 100)),
    "bpp": _Setting(float, limits=(0, 1000)),
    "max_bytes": _Setting(int, limits=(1, 1 << 40)),
    "target_psnr": _Setting(float, limits=(10, 60)),
    "rate": _Setting(float, limits=(1, 16)),
    "rates": _Setting(list),
    "codec": _Setting(str, choices=LOSSY_CODECS + LOSSLESS_CODECS),
    "effort": _Setting(int, limits=(0, 9)),
    "metadata": _Setting(str, choices=("all", "icc", "none")),
    "alpha_quality": _Setting(int, limits=(0, 100)),
    "keep_smaller": _Setting(bool),
}
_FILES = ("ca_file", "client_cert", "client_key")


def config_path() -> tuple[Path | None, bool]:
    """Returns (the settings file, whether it must exist); None: no file is read."""
    named = os.environ.get(CONFIG_VARIABLE)
    if named is not None:
        return (Path(named).expanduser(), True) if named else (None, False)
    import typer

    return Path(typer.get_app_dir("bbmr")) / "config.toml", False


def load_config() -> Config:
    """Returns the settings of this user; an empty `Config` if there is no file.

    Raises:
        UsageError: the file is not TOML, or a key or a value in it is wrong.
        FileAccessError: the file cannot be read, or BBMR_CONFIG names one that does not exist.
    """
    path, must_exist = config_path()
    if path is None or not (must_exist or path.exists()):
        return Config()
    return read_config(path)


def read_config(path: Path) -> Config:
    """Returns the settings in the file `path`. Raises as `load_config` does."""
    import tomllib

    if path.exists() and not path.stat().st_size:
        return Config(path)
    data = read_file(path, limit=MAX_CONFIG_BYTES, error=FileAccessError)
    try:
        values = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    _check_names(path, values, _SETTINGS, "")
    checked = {name: _checked(path, name, value) for name, value in values.items()}
    return Config(path, **checked)  # type: ignore[arg-type] # each was checked against its type


def _check_names(path: Path, values: Mapping[str, object], known: Mapping[str, object], where: str) -> None:
    unknown = next((name for name in values if name not in known), None)
    if unknown is not None:
        meant = get_close_matches(unknown, known, 1)
        hint = f": did you mean {meant[0]}?" if meant else f"; there are {', '.join(known)}"
        raise UsageError(f"{path}: there is no setting {unknown!r}{where}{hint}")


def _checked(path: Path, name: str, value: object) -> object:
    if name == "encode":
        return _encode_defaults(path, value)
    if name == "server":
        servers = [value] if isinstance(value, str) else value
        if not isinstance(servers, list) or not all(isinstance(one, str) and one for one in servers):
            raise UsageError(f"{path}: server is the address of a server, or a list of them")
        return tuple(servers)
    _check_value(path, name, value, _SETTINGS[name])
    if name in _FILES:
        return str(path.absolute().parent / Path(str(value)).expanduser())
    return value


def _encode_defaults(path: Path, table: object) -> EncodeDefaults:
    if not isinstance(table, dict):
        raise UsageError(f"{path}: encode is a table: write [encode] and its settings below")
    _check_names(path, table, _ENCODE, " in [encode]")
    values = dict(table)
    if "rates" in values:
        values["rates"] = _palette(path, values["rates"])
    for name in values.keys() - {"rates"}:
        _check_value(path, f"encode.{name}", values[name], _ENCODE[name])
    return EncodeDefaults(**values)


def _palette(path: Path, rates: object) -> tuple[int, ...]:
    from bbmr_shared.grid import RATES

    if (
        not isinstance(rates, list)
        or not rates
        or not all(type(rate) is int and rate in RATES for rate in rates)
    ):
        raise UsageError(f"{path}: encode.rates is a list out of {list(RATES)}")
    return tuple(sorted(set(rates)))


def _check_value(path: Path, name: str, value: object, setting: _Setting) -> None:
    if not setting.allows(value):
        shown = repr(value) if setting.choices and isinstance(value, str) else _named(value)
        raise UsageError(f"{path}: {name} is {setting.meaning}, and not {shown}")


def _named(value: object) -> str:
    """Returns a value as a message may show it. A text is not shown: it may be a key."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else f"a {type(value).__name__}"
