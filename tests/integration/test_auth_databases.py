"""Auth's databases and what it asks beside them, with whole processes."""
import subprocess
import threading

from harness.imap import Imap


def test_a_query_that_could_not_work_is_refused_with_its_line(postern):
    postern.passdbs["users"]["password_query"] = "SELECT password FROM users WHERE user = %u"
    done = postern.check_configuration()
    line = next(number for number, text in enumerate(postern.conf.read_text().splitlines(), 1)
                if text.startswith("password_query"))
    assert done.code == 78 and f"{postern.conf}:{line}: password_query: " in done.err, done.err


def test_one_worker_serves_many_slow_hashes(postern, user):
    postern.services.setdefault("auth-worker", {})["process_limit"] = "1"
    password = "shared-slow-9e1c"
    stored = "{SHA512-CRYPT}" + subprocess.run(["openssl", "passwd", "-6", password], capture_output=True, text=True,
                                               check=True).stdout.strip()
    names = [user(password=password, stored=stored)[0] for _ in range(6)]
    postern.start()
    replies = {}

    def login(name):
        with Imap(postern.port) as client:
            replies[name] = client.login(name, password)
    threads = [threading.Thread(target=login, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(replies[name].startswith("OK ") for name in names), replies
    assert len(postern.pids("auth-worker")) == 1
