"""Why a call over HTTP got no answer, in the words of the operating system and without the story of three libraries around them."""

import requests


def why_unanswered(error: requests.RequestException) -> str:
    """`connection refused`, `name or service not known`; what the error says itself when no connection failed."""
    if isinstance(error, requests.Timeout):
        return "nothing came in time"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror and not isinstance(cause, requests.RequestException):
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    return "the connection ended before it" if isinstance(error, requests.ConnectionError) else str(error)
