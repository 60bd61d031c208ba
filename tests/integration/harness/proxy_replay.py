"""A Postern for recorded dialogues of Dovecot's proxy, and what is compared of them."""
import re
import ssl
import time

from .certificates import Authority
from .recorded import message
from .recorded_proxy import OWN_PORTS, Listener, ProxyPlayer, masked_proxy


class Certificates:
    """What the recorded backends showed."""

    def __init__(self, directory):
        self.authority = Authority(directory / "ca")
        issue = self.authority.issue
        self.good = issue("good", ["localhost", "127.0.0.1"])
        self.self_signed = issue("self-signed", ["localhost", "127.0.0.1"], self_signed=True)
        self.other_name = issue("other-name", ["other.example.net"])
        self.named = issue("named", ["backend.example.net"])
        self.client = issue("client", ["proxy-client"])

    def context(self, recorded):
        name, settings = recorded.name, recorded.settings
        pair = self.self_signed
        if "wrong-name" in name:
            pair = self.other_name
        elif "hostip-name" in name:
            pair = self.named
        elif ("ssl_ca" in settings or "ssl_client_ca_file" in settings) and "selfsigned" not in name:
            pair = self.good
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.cert, pair.key)
        if "ssl_client_cert" in settings:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.authority.cert)
        return context

    def settings(self, recorded):
        """The recorded settings, with these files and our names for them."""
        out = dict(recorded.settings)
        for name, value in {"ssl_ca": f"<{self.authority.cert}", "ssl_client_ca_file": self.authority.cert,
                            "ssl_client_cert": f"<{self.client.cert}", "ssl_client_key": f"<{self.client.key}"}.items():
            if name in out:
                out[name] = str(value)
        if "ssl_ca" in out:  # Dovecot has one setting for the CRLs of clients and of backends
            out["ssl_client_require_crl"] = out.get("ssl_require_crl", "yes")
        return out


def passdb_fields(recorded, postern, port):
    """The recorded fields, with the ports of these listeners, and times as far away as they were then."""
    def new_port(match):
        recorded_port = match.group(1)
        return f"port={postern.port if recorded_port in OWN_PORTS else port if int(recorded_port) < 65536 else recorded_port}"

    def new_time(match):
        return f"delay_until={int(time.time()) + (4000 if 'too-far' in recorded.name else 3)}"
    return re.sub(r"delay_until=\d+", new_time, re.sub(r"port=(\d+)", new_port, recorded.fields))


def serve(postern, certificates, recordings, others="", only=False, full=False, **settings):
    """Starts a Postern with the configuration of these; returns the backends' listeners by name. `others`: more users, or with `only` the
    only ones."""
    listeners, rows = {}, [others]
    for recorded in [] if only else recordings:
        hangs = full or "connect-timeout" in recorded.name
        listeners[recorded.name] = Listener(hangs, away=not hangs and not recorded.sources())
        fields = passdb_fields(recorded, postern, listeners[recorded.name].port)
        rows.append(f"{recorded.user}:::::::{fields}\n")
    users = postern.directory / "users"
    users.write_text("".join(rows))
    users.chmod(0o644)
    postern.passdbs = {"passwd-file": {"driver": "passwd-file", "args": users}}
    postern.settings |= {
        "protocols": "imap pop3 submission sieve", "hostname": "proxy.example.net", "login_greeting": "Dovecot (Debian) ready.",
        "managesieve_implementation_string": "Dovecot (Debian) Pigeonhole", "imap_id_send": "name Dovecot",
        "proxy_forward_level": "2.3", "proxy_id_before_starttls": "yes", "listen": "127.0.0.1 ::1", "login_proxy_timeout": "60 secs",
    } | certificates.settings(recordings[0]) | settings
    postern.service["process_limit"] = "1"
    postern.start()
    return listeners


def masked_auth(line):
    return re.sub(r"\b\d{10}\b", "TIME", re.sub(r"<[^>]*>", "<S>", line))


def logged_of(postern, recorded, enough):
    """Lines of the login program about the user, once there are `enough` and none is added any more."""
    until, lines, before = time.monotonic() + 20, [], None
    while time.monotonic() < until:
        text = postern.log_text()
        lines = [line[16:] for line in text.splitlines() if re.search(rf"(user=<{re.escape(recorded.user)}>|proxy\({re.escape(recorded.user)}[,)])", line)]
        lines = [line for line in lines if line.startswith(recorded.program + ": ")]
        if len(lines) >= enough and lines == before:
            break
        before = lines
        time.sleep(0.2)
    return lines


def compare(postern, certificates, differences, recorded, listener, turns=None, before_the_end=lambda: None):
    """Plays it; what differs, as text. `turns`: of source addresses taken in turn, which stands for which recorded one."""
    player = ProxyPlayer(postern, recorded, differences, listener, certificates.context, before_the_end)
    wrong, turns = [], {} if turns is None else turns
    try:
        player.play()
    except AssertionError as error:
        wrong.append(str(error))
    sources = recorded.sources()
    sources = (sources + sources[-1:] * player.connections)[:player.connections]
    if "login_source_ips" in recorded.settings:  # where the turn begins is left to each process
        sources = [turns.setdefault(source, peer) for source, peer in zip(sources, player.peers)]
        if len(set(turns.values())) < len(turns):
            wrong.append(f"{recorded.name}: not in turn: {turns}")
    if player.peers != sources:
        wrong.append(f"{recorded.name}: connections from {player.peers}, not {sources}")
    recorded_lines = [masked_proxy(line, recorded.user) for line in recorded.expected_logs() if f"user=<{recorded.user}>" in line]
    expected = differences.log(recorded.name, recorded_lines)
    expected += differences.at_end(recorded.name, "LOG: ", "(added)")
    of_turn = {peer: source for source, peer in turns.items()}
    ours = [re.sub(r"(?<= from )[\d.]+", lambda match: of_turn.get(match.group(), match.group()), masked_proxy(line, recorded.user))
            for line in logged_of(postern, recorded, len(expected))]
    whole = [message(line) if i < len(expected) and not expected[i].startswith(recorded.program + ": ") else line
             for i, line in enumerate(ours)]
    if whole != expected:
        wrong.append("\n".join([f"{recorded.name}: the log says", *ours, "  where it should be", *expected]))
    others = recorded.auth_logs + [line for line in recorded.expected_logs() if "user=<" not in line]  # of no session
    logged = [masked_auth(ours[16:]) for ours in postern.log_text().splitlines()]
    for line in differences.log(recorded.name, [masked_auth(line) for line in others]):
        if not any(line in (ours, message(ours)) for ours in logged):
            wrong.append(f"{recorded.name}: not logged: {line!r}")
    listener.close()
    return wrong
