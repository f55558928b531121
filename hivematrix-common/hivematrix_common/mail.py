"""The mail server that takes our mail."""

import contextlib
import smtplib
import ssl
from dataclasses import dataclass, field

from hivematrix_common.sections import Smtp

_REFUSED_FOR_NOW, _REFUSED = 400, 500


@dataclass(frozen=True, slots=True)
class MailServer:
    """Who takes our mail, and whom it comes from."""

    host: str
    port: int
    starttls: bool
    user: str
    password: str = field(repr=False)
    sender: str
    timeout: int


def server_of(smtp: Smtp) -> MailServer | None:
    """The configured one; None where there is none."""
    if not smtp.host or not smtp.sender:
        return None
    told = (smtp.host, smtp.port, smtp.starttls, smtp.user, smtp.password, smtp.sender, smtp.timeout_seconds)
    return MailServer(*told)


class MailError(Exception):
    """A message did not go out: `deferred` (it may later), `refused` (it will not), or `unknown` (it may have)."""

    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome


class Outbox:
    """Messages over one connection to the mail server, made for the first of them. A server that cannot be reached is
    not tried again.
    """

    def __init__(self, server: MailServer) -> None:
        self.sender = server.sender
        self._server, self._fault = server, ""
        self._smtp: smtplib.SMTP | None = None

    def open(self) -> None:
        """Be ready to send; MailError says why not."""
        if self._fault:
            raise MailError("deferred", self._fault)
        if self._smtp is None:
            try:
                self._smtp = self._connected()
            except (OSError, smtplib.SMTPException) as error:
                self._fault = f"The mail server {self._server.host} cannot be used: {_said(error)}"
                raise MailError("deferred", self._fault) from None

    def send(self, recipient: str, message: bytes) -> None:
        """Returns once the server has taken the message; MailError otherwise."""
        smtp = self._smtp
        assert smtp is not None
        try:
            for code, said in (smtp.mail(self.sender), smtp.rcpt(recipient)):
                self._check(code, said)
        except (OSError, smtplib.SMTPException) as error:
            self.close()
            raise MailError("deferred", f"The mail server broke off: {_said(error)}") from None
        try:
            code, said = smtp.data(message)
        except smtplib.SMTPDataError as error:
            code, said = error.smtp_code, _bytes(error.smtp_error)
        except (OSError, smtplib.SMTPException) as error:
            # It had the message, or some of it, when it fell silent.
            self.close()
            raise MailError("unknown", f"The mail server did not say whether it took it: {_said(error)}") from None
        self._check(code, said)

    def close(self) -> None:
        if self._smtp is not None:
            with contextlib.suppress(OSError, smtplib.SMTPException):
                self._smtp.quit()
            self._smtp.close()
            self._smtp = None

    def _connected(self) -> smtplib.SMTP:
        server = self._server
        is_encrypted = server.port == smtplib.SMTP_SSL_PORT
        if server.user and not (is_encrypted or server.starttls):
            raise smtplib.SMTPNotSupportedError("a password goes over an encrypted connection only")
        name, known = server.sender.partition("@")[2], ssl.create_default_context()
        smtp: smtplib.SMTP
        if is_encrypted:
            smtp = smtplib.SMTP_SSL(server.host, server.port, name, timeout=server.timeout, context=known)
        else:
            smtp = smtplib.SMTP(server.host, server.port, name, server.timeout)
        try:
            if server.starttls and not is_encrypted:
                smtp.starttls(context=known)
            smtp.ehlo_or_helo_if_needed()
            if server.user:
                smtp.login(server.user, server.password)
        except BaseException:
            smtp.close()
            raise
        return smtp

    def _check(self, code: int, said: bytes) -> None:
        if code < _REFUSED_FOR_NOW:
            return
        self.close()
        outcome = "refused" if code >= _REFUSED else "deferred"
        raise MailError(outcome, f"The mail server answered {code} {said.decode(errors='replace')}")


def _said(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_bytes(error.smtp_error).decode(errors='replace')}"
    return "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
