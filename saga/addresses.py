"""The URLs of settings: what each may be, and what of one is shown.

Rules of this file: of a value that breaks a rule the rule is said, never a part, because nobody can tell where a password ends that
has a sign of an address in clear. What is shown of a URL has no password in it, and nothing of what stands behind `?`.
"""

import re
from urllib.parse import SplitResult, unquote, urlsplit

BROKER = r"(amqps?|pyamqp|rediss?|redis\+socket|sentinel|sqs|memory)://"
ADDRESS_MAX = 2048
MAIL_SCHEMES = ("smtp", "smtps", "smtp+starttls")
IN_CLEAR = "'@', '/', '?', '#', ':', '[', ']' and '%' of a user or a password are written %40, %2F, %3F, %23, %3A, %5B, %5D, %25"
PORT = "its port is not a number from 0 to 65535"


def _checked_url(url: str) -> str:
    """A URL whose parts can be read."""
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise ValueError(IN_CLEAR if _is_cut(url) else PORT) from None
    return url


def _is_cut(url: str) -> bool:
    """Whether it is a sign of a user or a password that makes it none."""
    login = url.partition("://")[2].rpartition("@")[0]
    return re.search(r"[][#?]", login) is not None or not login.isascii()


def _readable(url: str) -> SplitResult:
    """Its parts, none of them where it has half of an IPv6 address."""
    try:
        return urlsplit(url)
    except ValueError:
        if _is_cut(url):
            raise ValueError(IN_CLEAR) from None
        return urlsplit("")


def _checked_login(url: str) -> None:
    """Refuses what would print a piece of a password as a host, a port, a database or a virtual host: a sign of addresses in it in clear. What
    stands behind '?' is the query of an address without a login when it has an '='."""
    place, _, path = url.partition("://")[2].partition("/")
    login, _, query = place.rpartition("@")[0].partition("?")
    if re.search(r"[][#]", login) or (query and "=" not in query):
        raise ValueError(IN_CLEAR)
    if "@" in place.rpartition("@")[0] or ("@" not in place and "@" in path.partition("?")[0]):
        raise ValueError(IN_CLEAR)


def checked_hosts(url: str) -> str:
    """A URL with one host or several, which libpq tries in turn: each is read for itself."""
    if not url.startswith("sqlite"):
        _checked_login(url)
    login, at, place = url.partition("://")[2].partition("/")[0].rpartition("@")
    for host in place.split(","):
        _checked_url(f"postgresql://{login}{at}{host}")
    return url


def checked_brokers(urls: str) -> str:
    """One broker, or several with ';' between them, which are tried in turn."""
    for url in urls.split(";"):
        if "+socket:" not in url:  # its path is that of a file
            _checked_login(url)
        _checked_url(url)
    return urls


def checked_address(url: str) -> str:
    """Where a participant answers: paths are put behind it, so it ends before a query."""
    parts = _readable(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an address begins with http:// or https:// and names a host")
    if len(url) > ADDRESS_MAX or re.search(r"[\s?#]", url):
        raise ValueError(f"an address has at most {ADDRESS_MAX} characters, and no white space, '?' or '#'")
    return _checked_url(url)


def checked_mail_server(url: str) -> str:
    """Where mails are handed over. Of what is wrong with it the rule is said, never a part: it holds a password."""
    parts = _readable(url)
    if parts.scheme not in MAIL_SCHEMES or not parts.hostname:
        raise ValueError("a mail server begins with smtp://, smtps:// or smtp+starttls:// and names a host")
    if len(url) > ADDRESS_MAX or re.search(r"[\s?#]", url) or parts.path not in {"", "/"}:
        raise ValueError(
            "a mail server ends with its port; '/', '?', '#', '@' and '%' of a password are written %2F, ..."
        )
    if bool(parts.username) != bool(parts.password):
        raise ValueError("a mail server has a user and a password, or neither")
    both = unquote(parts.username or "") + unquote(parts.password or "")
    if not both.isascii() or not both.isprintable():
        raise ValueError("user and password of a mail server are printable ASCII")
    return _checked_url(url)


def shown_url(url: str) -> str:
    """One URL for people: without its password, and without what stands behind `?`.

    A password with a '/', '?' or '#' in clear is cut in the middle by every reader of URLs; then only the scheme is shown.
    """
    scheme = url.partition("://")[0]
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"{scheme}://..."
    if "@" in url and "@" not in parts.netloc:
        return f"{scheme}://..."
    login, at, place = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    return f"{parts.scheme}://{user}{':***' if colon else ''}{at}{place}{parts.path}"


def shown_brokers(urls: str) -> str:
    """One broker, or several with ';' between them, each as `shown_url` has it. Of no other URL a ';' ends a part: a password may have one."""
    return ";".join(shown_url(url) for url in urls.split(";"))
