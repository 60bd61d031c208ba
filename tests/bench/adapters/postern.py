"""Postern, from a build tree ($POSTERN_BUILD, default build/release of this checkout).

Every variant looks the user up in a database of its own, as a site would; dovecot.py's default rows answer
from memory without looking (postern-static does the same). Compare like with like."""
import os, pathlib, pwd, sqlite3

ROOT = pathlib.Path(__file__).resolve().parents[3]


def build_tree():
    return pathlib.Path(os.environ.get("POSTERN_BUILD", ROOT / "build/release"))


def user(*names):
    """The first of these accounts that this host has."""
    for name in names:
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            pass
    return ""


class Postern:
    """Postern, two long-lived login processes, passwords in SQLite ({PLAIN})"""
    name, process_per_connection, default, quick = "postern-hp", False, True, True
    service = "service_count = 0\nprocess_min_avail = 2\nprocess_limit = 2\nclient_limit = 8000\n"
    database = "sqlite"

    @staticmethod
    def stored(pw):
        return "{PLAIN}" + pw

    def installed(self):
        return (build_tree() / "src/master/postern").exists()

    def supports(self, route):
        return route[0] in ("imap", "pop3", "submission", "sieve")

    def passdb(self, env, target):
        if self.database == "static":
            return "driver = static\nfields = nopassword=y " + " ".join(f"{k}={v}" for k, v in target.items()) + "\n"
        path = env.dir / "users.db"
        db = sqlite3.connect(path)
        db.execute("CREATE TABLE users (user TEXT PRIMARY KEY, password TEXT NOT NULL) WITHOUT ROWID")
        pw = self.stored(env.password)
        db.executemany("INSERT INTO users VALUES (?, ?)", [(f"u{i}", pw) for i in range(env.users)])
        db.commit()
        db.close()
        path.chmod(0o644)
        columns = ", ".join(f"'{v}' AS {k}" for k, v in target.items())
        return (f"driver = sql\nsql_driver = sqlite\nconnect = {path}\n"
                f"password_query = SELECT password, {columns} FROM users WHERE user = '%u'\n")

    def start(self, env, route):
        protocol, client, tls_backend = route
        tree, libexec = build_tree(), env.dir / "libexec"
        libexec.mkdir()
        for name, room in (("imap-login", "imap-login"), ("pop3-login", "pop3-login"), ("submission-login", "submission-login"),
                           ("managesieve-login", "managesieve-login"), ("auth", "auth"), ("auth-worker", "auth"), ("anvil", "anvil"), ("log", "log")):
            (libexec / name).symlink_to(tree / "src" / room / name)
        target = {"proxy": "y", "host": "127.0.0.1", "port": env.sink[protocol, tls_backend]}
        if tls_backend:
            target["ssl"] = "any-cert"
        implicit = client == "implicit"
        program = {"sieve": "managesieve"}.get(protocol, protocol) + "-login"
        # Under instr.py the services run inside the wrapper, not the master.
        login = auth = ""
        if env.wrap:
            pre = " ".join(map(str, env.wrap))
            login = f"executable = {pre} {libexec}/{program}\nchroot =\n"
            auth = f"executable = {pre} {libexec}/auth\n"
        users = ""
        if os.geteuid() == 0:
            own = user("postern", "dovecot", "nobody")
            auth += f"user = {own}\n\n[service auth-worker]\nuser = {own}\n"
            users = (f"default_internal_user = {own}\ndefault_internal_group =\n"
                     f"default_login_user = {user('postern-login', 'dovenull', 'nobody')}\n")
        conf = env.write("postern.conf", f"""
base_dir = {env.dir}/run
libexec_dir = {libexec}
log_path = {env.dir}/postern.log
protocols = {protocol}
listen = {env.ip}
{users}ssl = {"no" if client == "none" and not tls_backend else "yes"}
ssl_cert = <{env.cert}
ssl_key = <{env.key}
ssl_client_require_valid_cert = no
disable_plaintext_auth = no
auth_mechanisms = plain
mail_max_userip_connections = 0
default_vsz_limit = 0
default_client_limit = 20000
default_process_limit = 7000

[service {program}]
{self.service}{login}
[inet_listener {program} {protocol}]
port = {0 if implicit else env.port}

[inet_listener {program} {protocol}s]
port = {env.port if implicit else 0}
ssl = yes

[service auth]
{auth}
[passdb bench]
{self.passdb(env, target)}""")
        env.spawn([tree / "src/master/postern", "-F", "-c", conf], unwrapped=True)


class PerConnection(Postern):
    """Postern, a process per connection, passwords in SQLite ({PLAIN})"""
    name, process_per_connection, quick = "postern-hs", True, False
    service = "service_count = 1\nclient_limit = 1\nprocess_limit = 6000\n"


class Static(Postern):
    """postern-hp without a database (static passdb, nopassword), as dovecot-hp is"""
    name, default, quick, database = "postern-hp-static", False, False, "static"


class Crypt(Postern):
    """postern-hp, passwords as SHA512-CRYPT with 1000 rounds"""
    name, default, quick = "postern-hp-crypt", False, False

    @staticmethod
    def stored(pw):
        import crypt
        return "{SHA512-CRYPT}" + crypt.crypt(pw, "$6$rounds=1000$benchmarksalt")


def variants():
    return [Postern(), PerConnection(), Static(), Crypt()]
