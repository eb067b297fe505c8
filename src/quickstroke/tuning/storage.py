"""A study's storage: SQLite or another database, whose errors are the user's."""

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy

from quickstroke.errors import ConfigError, first_line

# One writer at a time: how long SQLite lets the others wait.
_BUSY_S = 60.0


@contextmanager
def open_storage(folder: Path, address: str | None) -> Iterator[optuna.storages.RDBStorage]:
    """A study's storage at an SQLAlchemy URL; None for the SQLite file in its folder.

    Its errors are the user's, in one line and without a password.
    """
    if address is None and any("\ud800" <= letter <= "\udfff" for letter in str(folder)):
        raise ConfigError(f"{folder}: the name is no UTF-8, which SQLite asks for; give another folder")
    url = sqlalchemy.URL.create("sqlite", database=str(folder / "study.db"))
    try:
        if address is not None:
            url = sqlalchemy.make_url(address)
        storage = _opened(url)
        yield storage
        storage.engine.dispose()
    except (sqlite3.Error, sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = error.__cause__ or error
        where = "--storage" if isinstance(cause, sqlalchemy.exc.ArgumentError) else repr(url)
        raise ConfigError(f"{where}: the storage cannot be used: {first_line(cause)}") from error


def _opened(url: sqlalchemy.URL) -> optuna.storages.RDBStorage:
    is_sqlite = url.get_backend_name() == "sqlite"
    if is_sqlite:
        if url.database in (None, "", ":memory:"):
            raise ConfigError(f"{url!r}: a study needs a file, sqlite:///PATH")
        # A log in place of a journal: a disk that is slow to write through would cost a second for each epoch.
        with contextlib.closing(sqlite3.connect(str(url.database), timeout=_BUSY_S)) as connection:
            connection.execute("PRAGMA journal_mode = wal")
    text = url.render_as_string(hide_password=False)
    try:
        storage = optuna.storages.RDBStorage(
            text.replace("{", "{{").replace("}", "}}"),  # Optuna takes it for a template
            engine_kwargs={"connect_args": {"timeout": _BUSY_S}} if is_sqlite else {"pool_pre_ping": True},
        )
    except ImportError as error:
        reason = error.__cause__ or error
        raise ConfigError(f"{url!r}: the driver of this storage is not installed ({reason})") from error
    if is_sqlite:
        _serialize(storage.engine)
    return storage


def _serialize(engine: sqlalchemy.Engine) -> None:
    """Makes each transaction with SQLite take its lock at its beginning.

    Python's driver takes it with the first write only: two workers could both see that a trial waits, and claim it.
    """

    @sqlalchemy.event.listens_for(engine, "connect")
    def by_hand(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA synchronous = normal")  # with a log, whole after any kill

    @sqlalchemy.event.listens_for(engine, "begin")
    def at_once(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # what was connected before
