"""How a mail is written down: as the standard library does, but for a subject that is not ASCII.

`email.policy` loses or doubles a blank where it breaks a long subject into encoded words, so that the mail would be about another
order. `email.header` breaks it as RFC 2047 wants it, and it reads back to the letter.
"""

from email.header import Header
from email.policy import EmailPolicy


class MailPolicy(EmailPolicy):
    """CR LF at the end of each line; a subject that reads back as it is."""

    def fold(self, name: str, value: str) -> str:
        return self._subject(value) if self._is_ours(name, value) else super().fold(name, value)

    def fold_binary(self, name: str, value: str) -> bytes:
        return self._subject(value).encode("ascii") if self._is_ours(name, value) else super().fold_binary(name, value)

    @staticmethod
    def _is_ours(name: str, value: str) -> bool:
        return name == "Subject" and not str(value).isascii()

    def _subject(self, value: str) -> str:
        words = Header(str(value), "utf-8", header_name="Subject").encode(linesep=self.linesep)
        return f"Subject: {words}{self.linesep}"


MAIL = MailPolicy(linesep="\r\n")
SENT = MAIL.clone(cte_type="7bit")
"""As it goes to a server: none needs to know 8BITMIME."""
