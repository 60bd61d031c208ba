"""Fixtures: certificates, a Dovecot backend, Postern instances, fake backends.

POSTERN_BUILD names the build directory whose programs are tested (default build/check)."""
import os
import pathlib
import resource
import shutil
import signal
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from harness.certificates import Authority  # noqa: E402
from harness.dovecot import Dovecot  # noqa: E402
from harness.fake_backend import CrowdBackend, FakeBackend  # noqa: E402
from harness.imap import trusting  # noqa: E402
from harness.postern import Postern, build_tree  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "alone: heavy; one of these at a time")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else 65536, hard))


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("alone"):
            item.add_marker(pytest.mark.xdist_group("alone"))


def pytest_sessionstart(session):
    for name in ("master/postern", "ctl/posternctl", "imap-login/imap-login", "pop3-login/pop3-login",
                 "submission-login/submission-login", "managesieve-login/managesieve-login", "auth/auth", "log/log", "anvil/anvil"):
        if not (build_tree() / "src" / name).exists():
            pytest.exit(f"{build_tree()}/src/{name} is not built (POSTERN_BUILD names the build directory)", 3)


@pytest.fixture(autouse=True)
def deadline():
    """No test may hang: after four minutes it fails where it is."""
    def late(*_):
        raise AssertionError("the test took longer than four minutes")
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(240)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def make_directory():
    """A short path: socket names may have 107 bytes, and pytest's own directories use up most of them."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="postern-test-", dir="/tmp"))
    path.chmod(0o755)
    return path


@pytest.fixture(scope="session")
def session_directory():
    path = make_directory()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def authority(session_directory):
    return Authority(session_directory / "certificates")


@pytest.fixture(scope="session")
def server_pair(authority):
    return authority.issue("server", ["localhost", "127.0.0.1"])


@pytest.fixture(scope="session")
def tls(authority):
    """A client's TLS context that trusts Postern's certificate."""
    return trusting(authority.cert)


@pytest.fixture(scope="session")
def backend(session_directory, authority):
    """One Dovecot for all tests of a worker; users are added by those who need them."""
    pair = authority.issue("backend", ["127.0.0.1", "backend.example"])
    dovecot = Dovecot(session_directory / "dovecot", pair).start()
    yield dovecot
    dovecot.stop()


@pytest.fixture
def directory(request):
    """The test's own directory; kept, and named, when the test fails and POSTERN_KEEP is set."""
    path = make_directory()
    yield path
    if os.environ.get("POSTERN_KEEP"):
        print(f"kept: {path}")
    else:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def make_postern(directory, server_pair, request):
    """Makes instances; each is stopped at the end, and must stop well, leave nothing and have logged no secret."""
    made = []

    def make():
        instance = Postern(directory / f"p{len(made)}", server_pair)
        made.append(instance)
        return instance
    yield make
    complaints = []
    for instance in made:
        complaints += instance.stop() + instance.complaints()
        if complaints:
            print(f"--- {instance.conf}\n{instance.configuration()}")
        print(f"--- {instance.log}\n{instance.everything_logged()[-6000:]}")
    assert not complaints, complaints


@pytest.fixture
def postern(make_postern):
    """Configured by the test, started with start()."""
    return make_postern()


@pytest.fixture
def user(postern, backend, request):
    """A function that makes a user whom Postern sends to the Dovecot backend: (name, password)."""
    count = [0]

    def add(name=None, password=None, **fields):
        count[0] += 1
        name = name or f"u{count[0]}-{os.getpid()}-{abs(hash(request.node.nodeid)) % 10**9}"
        password = password or f"pw-{os.urandom(8).hex()}"
        backend.add_user(fields.get("destuser", name), password)
        postern.add_user(name, password, **{"proxy": "y", "host": "127.0.0.1", "port": backend.port, **fields})
        return name, password
    add.backend_port = backend.port
    return add


@pytest.fixture
def fake_backend():
    """Makes backends that behave as told; see harness/fake_backend.py."""
    made = []

    def make(talk, context=None):
        made.append(FakeBackend(talk, context))
        return made[-1]
    yield make
    for backend in made:
        backend.stop()


@pytest.fixture
def crowd_backend():
    backend = CrowdBackend()
    yield backend
    backend.stop()
