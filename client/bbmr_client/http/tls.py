"""Makes the `ssl.SSLContext` of a connection from certificates in PEM files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bbmr_client.files import reason
from bbmr_shared.arguments import check_type
from bbmr_shared.errors import UsageError

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True)
class Tls:
    """Certificates of a connection.

    ca_file: PEM file of the authorities that may sign a server's certificate, in place of the usual ones.
    client_cert, client_key: PEM files with this client's certificate and key; the key may be in the first file.
    insecure: accept any certificate; then anybody on the way can read and change everything.

    Raises:
        UsageError: two of them exclude each other.
    """

    ca_file: str | Path | None = None
    client_cert: str | Path | None = None
    client_key: str | Path | None = None
    insecure: bool = False

    def __post_init__(self) -> None:
        for name in ("ca_file", "client_cert", "client_key"):
            check_type(name, getattr(self, name), str, Path, type(None))
        if self.client_key and not self.client_cert:
            raise UsageError("a client key needs its certificate: add --client-cert")
        if self.insecure and self.ca_file:
            raise UsageError("--insecure accepts any certificate, so it excludes --ca-file")

    def context(self, default: Callable[..., ssl.SSLContext]) -> ssl.SSLContext:
        """Returns the settings for `ssl`.

        default: makes the context if there is no CA file; it is called with `verify=False` if `insecure`.

        Raises:
            UsageError: a file does not exist, or cannot be used.
        """
        context = self._trusting(default)
        if self.client_cert:
            import ssl

            try:
                context.load_cert_chain(self.client_cert, self.client_key, password=_no_password)
            except (OSError, ssl.SSLError, ValueError) as error:
                files = f"{self.client_cert} and {self.client_key}" if self.client_key else self.client_cert
                raise UsageError(
                    f"the client certificate {files} cannot be used: {_reason(error)}"
                ) from error
        return context

    def _trusting(self, default: Callable[..., ssl.SSLContext]) -> ssl.SSLContext:
        """A context that trusts the right authorities and has no client certificate yet."""
        import ssl

        try:
            if self.ca_file:
                return ssl.create_default_context(cafile=self.ca_file)
            return default(verify=not self.insecure)
        except (OSError, ssl.SSLError) as error:
            if self.ca_file:
                raise UsageError(f"the CA file {self.ca_file} cannot be used: {_reason(error)}") from error
            raise UsageError(
                "the environment names certificates that cannot be used "
                f"({_reason(error)}): see SSL_CERT_FILE and SSL_CERT_DIR"
            ) from error


def _no_password() -> str:
    """Raises an error; OpenSSL would ask for the password on the terminal."""
    raise ValueError("its key has a password: remove it (openssl pkey -in KEY -out PLAIN)")


def _reason(error: Exception) -> str:
    import ssl

    if isinstance(error, ssl.SSLError):
        return (error.reason or "no certificate or key in PEM is in it").lower().replace("_", " ")
    return reason(error)
