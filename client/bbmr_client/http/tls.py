"""How a connection is secured. In: names of PEM files. Out: an `ssl.SSLContext`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bbmr_client.files import reason
from bbmr_shared.errors import UsageError

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True)
class Tls:
    """ca_file: the authorities that may have signed a server's certificate, in place of the usual ones. client_cert and
    client_key: who this client is; the key may be in the certificate's file. insecure: any certificate is taken, so
    anybody on the way can read and change everything.

    Raises:
        UsageError: two of them exclude each other.
    """

    ca_file: str | Path | None = None
    client_cert: str | Path | None = None
    client_key: str | Path | None = None
    insecure: bool = False

    def __post_init__(self) -> None:
        if self.client_key and not self.client_cert:
            raise UsageError("a client key needs its certificate: add --client-cert")
        if self.insecure and self.ca_file:
            raise UsageError("--insecure takes any certificate, so it excludes --ca-file")

    def context(self, usual: Callable[..., ssl.SSLContext]) -> ssl.SSLContext:
        """The settings for `ssl`. usual: makes those without a CA file, from the authorities that are known anyway;
        called with `verify=False` where nothing is to be checked.

        Raises:
            UsageError: a file does not exist, or is not what it should be.
        """
        import ssl

        if self.ca_file:
            try:
                context = ssl.create_default_context(cafile=self.ca_file)
            except (OSError, ssl.SSLError) as error:
                raise UsageError(f"the CA file {self.ca_file} cannot be used: {_reason(error)}") from error
        else:
            try:
                context = usual(verify=not self.insecure)
            except (OSError, ssl.SSLError) as error:
                raise UsageError(
                    "the environment names certificates that cannot be used "
                    f"({_reason(error)}): see SSL_CERT_FILE and SSL_CERT_DIR"
                ) from error
        if self.client_cert:
            try:
                context.load_cert_chain(self.client_cert, self.client_key, password=_no_password)
            except (OSError, ssl.SSLError, ValueError) as error:
                files = f"{self.client_cert} and {self.client_key}" if self.client_key else self.client_cert
                raise UsageError(
                    f"the client certificate {files} cannot be used: {_reason(error)}"
                ) from error
        return context


def _no_password() -> str:
    """OpenSSL would ask the terminal."""
    raise ValueError("its key has a password: take it off (openssl pkey -in KEY -out PLAIN)")


def _reason(error: Exception) -> str:
    import ssl

    if isinstance(error, ssl.SSLError):
        return (error.reason or "no certificate or key in PEM is in it").lower().replace("_", " ")
    return reason(error)
