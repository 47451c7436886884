"""The throw-away server that is tortured: a normal installation, with the build for faults put in the
place of the library."""
import os, signal, subprocess, threading, time
import psycopg
from faults import Faults

LIMIT = 180             # seconds for what is waited for: only what has failed needs all of them
DATABASE = "torture"


class Hang(Exception):
    pass


def wait_until(what, done, step=0.005):
    end = time.monotonic() + LIMIT
    while not done():
        if time.monotonic() > end:
            raise Hang(f"timed out waiting for {what}")
        time.sleep(step)
        step = min(step * 1.5, 0.1)


class Server:
    def __init__(self, work, bindir, library, user=None, small=None, wal=None):
        self.prefix = ["runuser", "-u", user, "--"] if user else []     # the server does not run as root
        self.work, self.bindir, self.library, self.small, self.wal = work, bindir, library, small, wal
        self.data, self.socket, self.log = f"{work}/data", f"{work}/socket", f"{work}/server.log"
        self.mine = threading.local()       # each thread has a session to ask from

    def command(self, name, *arguments):
        done = subprocess.run([*self.prefix, f"{self.bindir}/{name}", *arguments], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stdout}")

    def make(self, points):
        subprocess.run([*self.prefix, "mkdir", "-m", "700", self.socket], check=True)
        wal = ["--waldir", f"{self.wal}/pg_wal"] if self.wal else []
        self.command("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync",
                     "--wal-segsize=1", *wal)
        self.configure({
            "listen_addresses": "", "port": 5432, "unix_socket_directories": self.socket, "fsync": "off",
            "max_connections": 30, "max_worker_processes": 14, "shared_buffers": "32MB", "wal_recycle": "off",
            "min_wal_size": "2MB", "max_wal_size": "16MB", "restart_after_crash": "on", "deadlock_timeout": "100ms",
            "log_line_prefix": "%m [%p] %b ", "timezone": "UTC",
            "max_parallel_workers": 14, "max_parallel_workers_per_gather": 0})
        self.start()
        with self.connect("postgres") as c:
            if self.small:
                subprocess.run([*self.prefix, "mkdir", f"{self.small}/tablespace"], check=True)
                c.execute(f"CREATE TABLESPACE small LOCATION '{self.small}/tablespace'")
            c.execute(f"CREATE DATABASE {DATABASE}" + (" TABLESPACE small" if self.small else ""))
            c.execute("CREATE DATABASE beside")
        for database in DATABASE, "beside":
            with self.connect(database) as c:
                c.execute("CREATE EXTENSION loader")
                # the functions of the build for faults; the workers find it by dynamic_library_path
                c.execute("UPDATE pg_proc SET probin = %s WHERE probin = '$libdir/loader'", [f"{self.library}/loader"])
        self.command("pg_ctl", "-D", self.data, "-m", "fast", "-w", "-s", "stop")
        self.faults = Faults(f"{self.data}/loader_faults", points)
        self.configure({
            "dynamic_library_path": f"{self.library}:$libdir", "shared_preload_libraries": "loader",
            "loader.launcher_naptime": 1, "loader.retry_delay": "10ms", "loader.lock_timeout": "60ms",
            "loader.lock_deadline": "120s", "loader.max_workers": 8, "loader.workers": 3})
        self.start()

    def configure(self, settings):
        with open(f"{self.data}/postgresql.conf", "a", encoding="utf-8") as f:
            for name, value in settings.items():
                f.write(f"{name} = '{value}'\n")

    def change(self, name, value):
        self.configure({name: value})
        self.command("pg_ctl", "-D", self.data, "-s", "reload")

    # --- processes --------------------------------------------------------------------------------

    def start(self):
        self.command("pg_ctl", "-D", self.data, "-l", self.log, "-w", "-s", "start")

    def postmaster(self):
        try:
            with open(f"{self.data}/postmaster.pid", encoding="utf-8") as f:
                return int(f.readline())
        except (OSError, ValueError):
            return None

    def alive(self):
        """The postmaster is one that runs, and no zombie of ours."""
        pid = self.postmaster()
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
                return pid is not None and f.read().rsplit(")", 1)[1].split()[0] != "Z"
        except OSError:
            return False

    def ensure(self):
        """The server is up, whatever was done to it; returns whether it had to be started."""
        started = False
        end = time.monotonic() + LIMIT
        while True:
            if not self.alive():
                started = True
                try:
                    self.start()
                except RuntimeError as error:    # its children are still there
                    if time.monotonic() > end:
                        raise Hang(f"the server does not start: {error}") from error
                    time.sleep(0.1)
                    continue
            try:
                with self.once() as c:
                    c.execute("SELECT 1")
                    return started
            except psycopg.Error as error:
                if time.monotonic() > end:
                    raise Hang(f"the server does not take connections: {error}") from error
                time.sleep(0.02)

    def stop(self):
        if self.alive():
            self.command("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "-s", "stop")

    def kill(self, pid, signum=signal.SIGKILL):
        try:
            os.kill(pid, signum)
            return True
        except ProcessLookupError:
            return False

    # --- sessions ---------------------------------------------------------------------------------

    def once(self, database=DATABASE, **more):
        return psycopg.connect(host=self.socket, port=5432, user="postgres", dbname=database, autocommit=True, **more)

    def connect(self, database=DATABASE, **more):
        """A session, as soon as the server lets one in."""
        end = time.monotonic() + LIMIT
        while True:
            try:
                return self.once(database, **more)
            except psycopg.OperationalError as error:
                if time.monotonic() > end:
                    raise Hang(f"the server does not take connections: {error}") from error
                time.sleep(0.02)

    def rows(self, sql, arguments=None):
        """The rows of a query, though the server may have to come back for it."""
        end = time.monotonic() + LIMIT
        while True:
            try:
                if getattr(self.mine, "session", None) is None or self.mine.session.closed:
                    self.mine.session = self.connect()
                return self.mine.session.execute(sql, arguments).fetchall()
            except psycopg.OperationalError as error:
                if time.monotonic() > end:
                    raise Hang(f"no answer to {sql}: {error}") from error
                self.mine.session.close()
                time.sleep(0.02)

    def value(self, sql, arguments=None):
        found = self.rows(sql, arguments)
        return found[0][0] if found else None

    def leave(self):
        """The thread is at its end."""
        if getattr(self.mine, "session", None) is not None:
            self.mine.session.close()
