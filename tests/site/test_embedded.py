"""The embedded servers: they start, keep their data, and recover from a kill; folders do not meet."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
import redis as redis_client

from kilroy_site.config import load
from kilroy_site.embedded import postgres, redis
from kilroy_site.embedded.lock import HeldError, Lock, lock_path
from kilroy_site.embedded.postgres import FAST_AND_FORGETFUL, Postgres
from kilroy_site.embedded.redis import Redis
from kilroy_site.embedded.running import needed, running
from kilroy_site.embedded.server import EmbeddedServer, ServerError, make_private, socket_folder


def fast_postgres(var: Path) -> Postgres:
    return Postgres(var, FAST_AND_FORGETFUL)


@contextmanager
def started(server: EmbeddedServer) -> Iterator[int]:
    process = server.start(server.var / "logs" / f"{server.name}.log")
    try:
        yield process.pid
    finally:
        server.stop(process)


@pytest.fixture
def var(tmp_path: Path) -> Path:
    return tmp_path / "var"


def test_the_database_keeps_its_data_and_its_role_is_no_superuser(var: Path) -> None:
    url = postgres.database_url(var)
    with started(fast_postgres(var)), psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE note (text text)")
        connection.execute("INSERT INTO note VALUES ('Kilroy was hére 🐦')")
    with started(fast_postgres(var)), psycopg.connect(url) as connection:
        assert connection.execute("SELECT text FROM note").fetchall() == [("Kilroy was hére 🐦",)]
        query = "SELECT rolname, rolsuper, rolbypassrls, rolcreatedb FROM pg_roles WHERE rolname = current_user"
        assert connection.execute(query).fetchone() == ("kilroy", False, False, True)
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_the_database_starts_again_after_a_kill(var: Path) -> None:
    server = Postgres(var)
    process = server.start(var / "log")
    with psycopg.connect(postgres.database_url(var)) as connection:
        connection.execute("CREATE TABLE note ()")
    process.kill()
    process.wait()
    pid_file = server.data / "postmaster.pid"
    pid_file.write_text(pid_file.read_text().replace(str(process.pid), "1"))  # as if the pid had been given away since
    with started(server), psycopg.connect(postgres.database_url(var)) as connection:
        assert connection.execute("SELECT count(*) FROM note").fetchone() == (0,)


@pytest.mark.parametrize("kind", [fast_postgres, Redis])
def test_a_server_left_by_a_killed_supervisor_is_replaced(var: Path, kind: type[EmbeddedServer]) -> None:
    server = kind(var)
    left = server.start(var / "log")
    collector = threading.Thread(target=left.wait)
    collector.start()
    with started(kind(var)) as pid:
        collector.join(20)
        assert pid != left.pid
        assert not psutil.pid_exists(left.pid)
        assert server.answers()


def test_a_half_made_database_is_made_anew(var: Path) -> None:
    (var / "postgres.new").mkdir(parents=True)
    (var / "postgres.new" / "PG_VERSION").write_text("18\n")
    with started(fast_postgres(var)), psycopg.connect(postgres.database_url(var)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not (var / "postgres.new").exists()


def test_redis_keeps_its_data_and_starts_empty_when_it_is_damaged(var: Path) -> None:
    client = redis_client.Redis.from_url(redis.redis_url(var))
    with started(Redis(var)):
        client.set("name", "Kilroy")
    with started(Redis(var)):
        assert client.get("name") == b"Kilroy"
    for part in (var / "redis" / "appendonlydir").glob("*.aof"):
        part.write_bytes(b"no such file format\r\n" * 100)
    (var / "redis" / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    with started(Redis(var)):
        assert client.get("name") is None


def test_two_folders_do_not_meet(tmp_path: Path) -> None:
    one, two = Redis(tmp_path / "one"), Redis(tmp_path / "two")
    with started(one), started(two):
        redis_client.Redis.from_url(redis.redis_url(one.var)).set("name", "one")
        assert redis_client.Redis.from_url(redis.redis_url(two.var)).get("name") is None


def test_a_path_too_long_for_a_socket_gets_a_private_folder_elsewhere(tmp_path: Path) -> None:
    var = tmp_path / ("x" * 120)
    folder = socket_folder(var)
    assert folder.parent == Path("/tmp")
    try:
        with started(Redis(var)):
            assert folder.stat().st_mode & 0o077 == 0
    finally:
        folder.rmdir()


def test_a_folder_of_somebody_else_is_refused(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    var.mkdir()
    monkeypatch.setattr("os.geteuid", lambda: 4242)
    with pytest.raises(ServerError, match=r"var belongs to another user \(uid \d+\): remove it"):
        make_private(var)


def test_the_addresses_are_known_without_starting_anything(var: Path) -> None:
    assert postgres.database_url(var) == f"postgresql://kilroy@/kilroy?host={socket_folder(var)}/postgres"
    assert redis.redis_url(var) == f"unix://{socket_folder(var)}/redis.sock"
    assert not var.exists()


def test_celery_reads_socket_addresses_in_its_own_spelling() -> None:
    assert redis.broker_url("unix:///srv/run/redis.sock") == "redis+socket:///srv/run/redis.sock?virtual_host=0"
    assert redis.broker_url("unix:///srv/run/redis.sock?db=3") == "redis+socket:///srv/run/redis.sock?virtual_host=3"
    assert redis.broker_url("redis://cache:6379/0") == "redis://cache:6379/0"


def test_only_servers_that_the_environment_does_not_name_are_embedded(var: Path) -> None:
    environ = {"KILROY_VAR": str(var), "KILROY_SECRET_KEY": "k" * 50}
    assert [server.name for server in needed(load(environ))] == ["postgres", "redis"]
    assert [server.name for server in needed(load({**environ, "DATABASE_URL": "postgresql://db/k"}))] == ["redis"]
    assert [server.name for server in needed(load({**environ, "REDIS_URL": "redis://cache"}))] == ["postgres"]


def test_who_comes_later_shares_the_servers_of_who_came_first(var: Path) -> None:
    server = Redis(var)
    with running([server], var):
        with running([Redis(var)], var):
            assert server.answers()
        assert server.answers()
        assert len(server.leftovers()) == 1
    assert not server.answers()


def test_concurrent_starts_share_one_server(var: Path) -> None:
    seen: list[int] = []
    together = threading.Barrier(4, timeout=30)

    def use() -> None:
        with running([Redis(var)], var):
            together.wait()
            seen.append(len(Redis(var).leftovers()))
            together.wait()

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert seen == [1, 1, 1, 1]
    assert not Redis(var).answers()


def test_a_lock_has_one_holder_at_a_time(var: Path) -> None:
    lock = Lock(lock_path(var))
    with pytest.raises(HeldError) as held:
        Lock(lock_path(var))
    assert held.value.pid == psutil.Process().pid
    lock.release()
    Lock(lock_path(var)).release()
