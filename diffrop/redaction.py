"""Texts without credentials."""

import re
from collections.abc import Sequence
from urllib.parse import unquote

NOTIFY = "--notify"
"""The option whose value, a URL, is a credential."""

_QUERY_SECRET = re.compile(r"([?&][^=&]*(?:pass|pwd|token|secret|key)[^=&]*=)([^&\s]+)", re.I)
_URI = re.compile(r"(?<![\w+.-])[\w+.-]+://\S+")  # looks behind, else quadratic in long words


def redact(uri: str) -> str:
    """Return a URI with `***` in the place of credentials, also of malformed ones.

    Everything up to the last @ goes, since a password may hold any unescaped character.
    """
    if not uri.lower().startswith(("sqlite:", "sqlite+", "file:")):
        uri = re.sub(r"://.*@", "://***@", uri, flags=re.DOTALL)
    return _QUERY_SECRET.sub(r"\1***", uri)


def hide(text: str, uri: str) -> str:
    """Return text with every URI redacted, and without the passwords of `uri` on their own."""
    text = _URI.sub(lambda match: redact(match[0]), text.replace(uri, redact(uri)))
    if uri.startswith("sqlite"):
        return text
    passwords = re.findall(r"://[^:@]*:(.*)@", uri, flags=re.DOTALL)
    passwords += [match[2] for match in _QUERY_SECRET.finditer(uri)]
    for secret in [*passwords, *map(unquote, passwords)]:
        if len(secret) >= 4:  # shorter ones would hit words
            text = text.replace(secret, "***")
    return text


def storable(text: str) -> str:
    """Return text that every database and server takes, with marks for what none can hold.

    The names of files, and so of data sets and classes, may be bytes that are no UTF-8, which
    Python holds as lone surrogates; PostgreSQL refuses NUL.
    """
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "?")


def storable_words(argv: Sequence[str]) -> list[str]:
    """Return what was typed as it may be stored and shown: without credentials.

    `--notify` goes with its value, which is one as a whole, also where it is abbreviated.
    """
    kept: list[str] = []
    words = iter(argv)
    for word in words:
        option, joined, _ = word.partition("=")
        if option.startswith(NOTIFY[:4]) and NOTIFY.startswith(option):
            if not joined:
                next(words, None)
        else:
            kept.append(redact(word) if "://" in word else word)
    return kept
