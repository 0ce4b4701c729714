"""Start the real PostgreSQL in a pod, with a database in the pod's own files.

POSTGRES_USER, POSTGRES_PASSWORD, PGDATA  ->  initdb once, then postgres in this process's place
"""

import os
import pwd
import subprocess
import sys
from pathlib import Path

from cairn.lab.images.table import find_program

ACCOUNT = "postgres"


def main() -> int:
    """Become PostgreSQL; returns only if that fails."""
    server, initdb = find_program("postgres"), find_program("initdb")
    if server is None or initdb is None:
        sys.stderr.write("postgres: not installed; try: apt-get install postgresql\n")
        return 1
    data = Path(os.environ.get("PGDATA") or "/var/lib/postgresql/pod")
    try:
        account = pwd.getpwnam(ACCOUNT)
        sockets = Path("/run/postgresql")
        for folder in (data, sockets):
            folder.mkdir(parents=True, exist_ok=True)
            os.chown(folder, account.pw_uid, account.pw_gid)
        data.chmod(0o700)
        os.initgroups(account.pw_name, account.pw_gid)
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
        os.chdir(data)
        if not (data / "PG_VERSION").exists():
            _create(initdb, data)
        argv = [server, "-D", str(data), "-c", "listen_addresses=*", "-k", str(sockets)]
        os.execv(server, argv)  # noqa: S606  (no shell, on purpose)
    except KeyError:
        sys.stderr.write(f"postgres: no account {ACCOUNT!r} on this machine\n")
    except (OSError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"postgres: {error}\n")
    return 1


def _create(initdb: str, data: Path) -> None:
    password = os.environ.get("POSTGRES_PASSWORD", "")
    user = os.environ.get("POSTGRES_USER") or "postgres"
    method = "scram-sha-256" if password else "trust"
    argv = [initdb, "--no-sync", "-D", str(data), "-U", user, f"--auth={method}"]
    if password:
        argv.append(f"--pwfile={_password_file(password)}")
    subprocess.run(argv, check=True, stdout=sys.stderr)
    with open(data / "pg_hba.conf", "a") as rules:
        rules.write(f"host all all all {method}\n")


def _password_file(password: str) -> str:
    path = Path("/tmp/.postgres-password")  # noqa: S108  (the pod's own)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(password)
    return str(path)


if __name__ == "__main__":
    sys.exit(main())
