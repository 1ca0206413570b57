"""The client's settings file. In: a TOML file. Out: `Config`, every value checked; an empty one where there is no file.

    server = ["https://one.example", "https://two.example"]
    api_key = "…"

The file is the one that BBMR_CONFIG names (empty: none is read), otherwise config.toml in the user's folder for
settings. Options and environment variables win over it.
"""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from bbmr_client.files import FileAccessError, read_file
from bbmr_shared.errors import UsageError
from bbmr_shared.limits import MAX_CONFIG_BYTES

CONFIG_VARIABLE = "BBMR_CONFIG"

_WORDS = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True)
class Config:
    """What the file says; None and empty: nothing. `path` is the file; relative names in it start at its folder."""

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

    @property
    def caution(self) -> str | None:
        """What is wrong with who may read the key in this file; None: nothing."""
        if self.api_key is None or self.path is None or sys.platform == "win32":
            return None
        if not self.path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            return None
        return f"{self.path} holds an API key and can be read by others: chmod 600 {self.path}"


_TYPES: dict[str, type] = {
    "server": str,
    "api_key": str,
    "timeout": float,
    "connect_timeout": float,
    "retries": int,
    "ca_file": str,
    "client_cert": str,
    "client_key": str,
    "insecure": bool,
}
_FILES = ("ca_file", "client_cert", "client_key")


def config_path() -> tuple[Path | None, bool]:
    """(the settings file, whether it was named and so must exist); None: none is to be read."""
    named = os.environ.get(CONFIG_VARIABLE)
    if named is not None:
        return (Path(named).expanduser(), True) if named else (None, False)
    import typer

    return Path(typer.get_app_dir("bbmr")) / "config.toml", False


def load_config() -> Config:
    """The settings file of this user.

    Raises:
        UsageError: it is no TOML, or a key or a value in it makes no sense.
        FileAccessError: it cannot be read, or was named and does not exist.
    """
    path, must_exist = config_path()
    if path is None or not (must_exist or path.exists()):
        return Config()
    return read_config(path)


def read_config(path: Path) -> Config:
    """The settings in file `path`; raises as `load_config` does."""
    import tomllib

    if path.exists() and not path.stat().st_size:
        return Config(path)
    data = read_file(path, limit=MAX_CONFIG_BYTES, error=FileAccessError)
    try:
        values = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    unknown = next((name for name in values if name not in _TYPES), None)
    if unknown is not None:
        meant = get_close_matches(unknown, _TYPES, 1)
        hint = f": did you mean {meant[0]}?" if meant else f"; there are {', '.join(_TYPES)}"
        raise UsageError(f"{path}: there is no setting {unknown!r}{hint}")
    checked = {name: _checked(path, name, value) for name, value in values.items()}
    return Config(path, **checked)  # type: ignore[arg-type] # each was checked against its type


def _checked(path: Path, name: str, value: object) -> object:
    kind = _TYPES[name]
    if name == "server":
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, list) or not all(isinstance(one, str) and one for one in given):
            raise UsageError(f"{path}: server is the address of a server, or a list of them")
        return tuple(given)
    right = isinstance(value, (int, float) if kind is float else kind)
    if not right or (isinstance(value, bool) and kind is not bool):
        raise UsageError(f"{path}: {name} is {_WORDS[kind]}, and not {_named(value)}")
    if name in _FILES:
        return str(path.absolute().parent / Path(str(value)).expanduser())
    return value


def _named(value: object) -> str:
    """A value as a message may show it: no text, which may be a key."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else f"a {type(value).__name__}"
