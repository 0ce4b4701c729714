"""The process in which DuckDB works for the history: one job, then it ends.

    a job on standard input  ->  replies on standard output

Invariants  No SQL of a person's reaches a file, the network or a setting: one SELECT, over files
            that are named, in a connection that is locked.
            A file is complete before it gets its name.
"""

import errno
import ipaddress
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from cairn.relay.history.columns import NAMES, fill_table
from cairn.relay.history.jobs import (
    ROWS_AT_ONCE,
    Ask,
    Compact,
    Compacted,
    Convert,
    Converted,
    Done,
    Failed,
    Heading,
    Job,
    Limits,
    Picture,
    Reply,
    Rows,
    read_job,
    write_message,
)
from cairn.relay.history.places import Places, parquet_file, sync_folder
from cairn.relay.history.question import BadQuestion, asked, networks, quoted, statement
from cairn.relay.history.segment import NoSegment, Segment, read_segment

STEPS = 60
"""Of the picture over time."""
_PARQUET = "(FORMAT parquet, COMPRESSION zstd)"
_INT64 = 1 << 63
_WRONG = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ConversionException,
    duckdb.OutOfRangeException,
    duckdb.ParserException,
    duckdb.PermissionException,
    duckdb.SyntaxException,
    duckdb.TypeMismatchException,
)
"""What only the question can be blamed for."""


def main() -> None:
    """Do the job; whatever happens, answer; then end at once.

    An orderly end of the interpreter sometimes meets a thread of DuckDB's, and aborts.
    """
    job = read_job(sys.stdin.buffer.read())
    for reply in replies(job):
        sys.stdout.buffer.write(write_message(reply))
        sys.stdout.buffer.flush()
    os._exit(0)


def replies(job: Job) -> Iterator[Reply]:
    """Yield the answer to a job; the last says how it ended."""
    spill = Places(Path(job.root)).work / f"spill-{os.getpid()}"
    try:
        match job:
            case Convert():
                yield _convert(job, spill)
            case Compact():
                yield _compact(job, spill)
            case Ask():
                yield from _ask(job, spill)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        yield Failed(f"{error.filename or job.root}: {error.strerror}", no_room=full)
    except (duckdb.Error, MemoryError) as error:
        yield _failed(job, error)
    finally:
        shutil.rmtree(spill, ignore_errors=True)


def connect(limits: Limits, spill: Path) -> duckdb.DuckDBPyConnection:
    """Return a database in memory that keeps to the limits."""
    connection = duckdb.connect(
        config={
            "memory_limit": f"{limits.memory_bytes // 1024}KiB",
            "threads": limits.threads,
            "temp_directory": str(spill),
            "max_temp_directory_size": "2GiB",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _convert(job: Convert, spill: Path) -> Reply:
    places = Places(Path(job.root))
    path = places.segment(job.number)
    try:
        segment = read_segment(path.read_bytes())
    except NoSegment as error:
        return Failed(str(error), corrupt={str(path): str(error)})
    times = segment.records["time_ns"] // 1000
    rows = len(segment.records)
    if rows:
        connection = connect(job.limits, spill)
        _fill(connection, segment)
        made = places.work / f"{job.number}.parquet"
        connection.execute(f"COPY flows TO {quoted(str(made))} {_PARQUET}")
        target = places.named(
            first=job.number,
            last=job.number,
            from_us=int(times.min()),
            to_us=int(times.max()),
            rows=rows,
        )
        _put(made, target)
    return Converted(rows, segment.torn_bytes, segment.damaged)


def _fill(connection: duckdb.DuckDBPyConnection, segment: Segment) -> None:
    fill_table(connection, "flows", segment.records, segment.dictionaries)


def _put(made: Path, target: Path) -> None:
    """Give a finished file its name, durably."""
    with made.open("rb") as file:
        os.fsync(file.fileno())
    made.replace(target)
    sync_folder(target.parent)


def _compact(job: Compact, spill: Path) -> Reply:
    places = Places(Path(job.root))
    files = [file for text in job.paths if (file := parquet_file(Path(text)))]
    if len(files) < len(job.paths):
        return Failed("files went meanwhile", again=True)
    made = places.work / f"{files[0].first}-{files[-1].last}.parquet"
    connection = connect(job.limits, spill)
    connection.execute(
        f"COPY (SELECT * FROM {_reading(job.paths)}) TO {quoted(str(made))} {_PARQUET}"
    )
    rows = sum(file.rows for file in files)
    found = connection.execute(f"SELECT count(*) FROM read_parquet({quoted(str(made))})").fetchone()
    if found is None or found[0] != rows:
        return Failed(f"{rows} flows were to be written, not {found}", corrupt=_corrupt(job))
    target = places.named(
        first=files[0].first,
        last=files[-1].last,
        from_us=min(file.from_us for file in files),
        to_us=max(file.to_us for file in files),
        rows=rows,
    )
    _put(made, target)
    return Compacted(rows)


def _reading(paths: tuple[str, ...]) -> str:
    return f"read_parquet([{', '.join(map(quoted, paths))}], union_by_name=true)"


def _ask(job: Ask, spill: Path) -> Iterator[Reply]:
    connection = connect(job.limits, spill)
    timer = threading.Timer(job.limits.time_s, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        notes = _prepare(connection, job)
        yield from _answer(connection, job, tuple(notes))
    except BadQuestion as error:
        yield Failed(str(error), wrong_question=True)
    except FileNotFoundError:
        yield Failed("files went meanwhile", again=True)
    finally:
        timer.cancel()


def _prepare(connection: duckdb.DuckDBPyConnection, job: Ask) -> list[str]:
    """Make the views `history`, `asked` and `flows`, and lock the connection; return notes."""
    notes = []
    pieces = [Segment.empty()]
    for number in job.segments:
        path = Places(Path(job.root)).segment(number)
        try:
            pieces.append(read_segment(path.read_bytes()))
        except NoSegment as error:
            notes.append(f"{path.name} cannot be read and is left out: {error}")
    for number, piece in enumerate(pieces):
        fill_table(connection, f"piece{number}", piece.records, piece.dictionaries)
    parts = [f"SELECT * FROM piece{number}" for number in range(len(pieces))]
    if job.paths:
        parts.append(f"SELECT * FROM {_reading(job.paths)}")
    connection.execute(f"CREATE VIEW history AS {' UNION ALL BY NAME '.join(parts)}")
    connection.execute(f"SET allowed_paths = [{', '.join(map(quoted, job.paths))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    about = asked(job.question, NAMES)
    for side, wanted in networks(job.question).items():
        if wanted:
            _gather(connection, side, wanted)
    connection.execute(f"CREATE VIEW asked AS {about}")
    connection.execute("CREATE VIEW flows AS SELECT * FROM asked")
    return notes


def _gather(connection: duckdb.DuckDBPyConnection, side: str, wanted: tuple[str, ...]) -> None:
    """Make a table of the addresses that lie in the networks: SQL cannot tell by itself."""
    rows = connection.execute(f"SELECT DISTINCT {side} FROM history").fetchall()
    known = [ipaddress.ip_address(text) for (text,) in rows if text]
    pairs = [
        (str(address), text)
        for text in wanted
        for network in [ipaddress.ip_network(text)]
        for address in known
        if address in network
    ]
    columns = {
        "text": np.array([text for text, _ in pairs], object),
        "network": np.array([network for _, network in pairs], object),
    }
    connection.execute(f"CREATE TABLE {side}_in (text VARCHAR, network VARCHAR)")
    if pairs:
        connection.register("pairs", columns)
        connection.execute(f"INSERT INTO {side}_in SELECT text, network FROM pairs")


def _answer(
    connection: duckdb.DuckDBPyConnection, job: Ask, notes: tuple[str, ...]
) -> Iterator[Reply]:
    question = job.question
    sql = statement(question)
    if question.sql:
        _guard(connection, sql)
    found = connection.execute(sql)
    yield Heading(tuple(column[0] for column in found.description or ()))
    left = question.limit
    while left and (rows := found.fetchmany(min(left, ROWS_AT_ONCE))):
        left -= len(rows)
        yield Rows([tuple(map(_plain, row)) for row in rows])
    cut = bool(found.fetchmany(1))
    if question.picture and not question.sql:
        yield from _picture(connection, question.since_us, question.until_us)
    yield Done(cut, notes)


def _guard(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Raise BadQuestion unless it is one SELECT."""
    found = connection.extract_statements(sql)
    if len(found) != 1:
        raise BadQuestion(f"--sql has {len(found)} statements: give it one SELECT")
    kind = found[0].type
    if kind != duckdb.StatementType.SELECT:
        raise BadQuestion(
            f"--sql takes a SELECT, and this is {kind.name}: the history is only read"
        )


def _picture(
    connection: duckdb.DuckDBPyConnection, since_us: int | None, until_us: int | None
) -> Iterator[Picture]:
    row = connection.execute(
        "SELECT epoch_us(min(time)), epoch_us(max(time)) FROM asked"
    ).fetchone()
    if row is None or row[0] is None:
        return
    start = row[0] if since_us is None else since_us
    end = max(start + STEPS, row[1] + 1 if until_us is None else until_us)
    step = (end - start + STEPS - 1) // STEPS
    rows = connection.execute(
        "SELECT (epoch_us(time) - ?) // ? AS step, count(*), count(*) FILTER (verdict = 'DROPPED')"
        " FROM asked GROUP BY step",
        [start, step],
    ).fetchall()
    flows, drops = [0] * STEPS, [0] * STEPS
    for at, count, dropped in rows:
        if 0 <= at < STEPS:
            flows[at], drops[at] = count, dropped
    yield Picture(start, end, flows, drops)


def _plain(value: Any) -> Any:
    """Return a value as messages can hold it."""
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        return float(value)
    return value


def _failed(job: Job, error: BaseException) -> Failed:
    """Return what an error of DuckDB means: a bad question, files that went, or are corrupt."""
    text = " ".join(str(error).split("\n\n")[0].split())
    if isinstance(error, duckdb.InterruptException):
        return Failed(f"no answer within {job.limits.time_s:.0f} s: ask about less time")
    if isinstance(error, (duckdb.OutOfMemoryException, MemoryError)):
        return Failed(f"the question needs more memory than it may have: {text}")
    if "No space left on device" in text:
        return Failed(text, no_room=True)
    if isinstance(error, _WRONG) and isinstance(job, Ask) and job.question.sql:
        return Failed(text, wrong_question=True)
    if isinstance(job, Convert):
        return Failed(text)
    if not all(map(os.path.exists, job.paths)):
        return Failed("files went meanwhile", again=True)
    return Failed(text, corrupt=_corrupt(job))


def _corrupt(job: Ask | Compact) -> dict[str, str]:
    """Return the files that cannot be read, and why."""
    found = {}
    for path in job.paths:
        try:
            connection = connect(job.limits, Places(Path(job.root)).work / "spill-check")
            connection.execute(
                f"SELECT max(hash(COLUMNS(*))) FROM read_parquet({quoted(path)})"
            ).fetchall()
        except duckdb.Error as error:
            found[path] = " ".join(str(error).split("\n\n")[0].split())
    return found


if __name__ == "__main__":
    main()
