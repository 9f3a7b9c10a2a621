"""SQLite files: their URL, whatever characters the path has.

SQLAlchemy is imported where a URL is made: what names a file does without it.
"""

from pathlib import Path
from urllib.parse import quote


def sqlite_url(path: Path) -> str:
    """Return SQLAlchemy's URL of a file; `?`, `#`, `%` and braces in its path are escaped."""
    from sqlalchemy import URL

    return URL.create("sqlite", database=str(path)).render_as_string()


def database_file(url: str) -> Path:
    """Return the file of SQLAlchemy's URL of an SQLite database."""
    from sqlalchemy import make_url

    return Path(make_url(url).database or "")


def read_only_url(path: Path) -> str:
    """Return the URL of a file that is never made or written.

    SQLite takes it as a URI, in which the path is escaped once more.
    """
    from sqlalchemy import URL

    options = {"mode": "ro", "uri": "true"}
    return URL.create(
        "sqlite", database=f"file:{quote(str(path))}", query=options
    ).render_as_string()


def mlflow_url(path: Path) -> str:
    """Return the URL of a file for MLflow, which SQLAlchemy takes as well.

    MLflow makes the folder that it reads in a URL with sqlite:///, without undoing what is escaped
    there; with the driver's name it leaves the folder alone.
    """
    url = sqlite_url(path)
    return url if url == f"sqlite:///{path}" else url.replace("sqlite:", "sqlite+pysqlite:", 1)
