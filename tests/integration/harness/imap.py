"""A client that shows every line, where imaplib hides them."""
import socket
import ssl


def trusting(ca):
    """A context that believes only `ca`."""
    return ssl.create_default_context(cafile=str(ca))


class Imap:
    """A connection; reads the greeting on construction unless told not to."""

    def __init__(self, port, context=None, name="localhost", greeting=True, timeout=20, source=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout, source_address=source)
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname=name)
        self._file = self.socket.makefile("rb")
        self._count = 0
        self.greeting = self.line() if greeting else ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def line(self):
        """The next line without its end; "" at the end of the connection."""
        try:
            return self._file.readline().rstrip(b"\r\n").decode(errors="replace")
        except (ConnectionResetError, ssl.SSLError):
            return ""

    def exactly(self, size):
        data = self._file.read(size)
        assert len(data) == size, f"{len(data)} of {size} bytes"
        return data

    def send(self, text):
        self.socket.sendall(text if isinstance(text, bytes) else text.encode())

    def answer(self, tag):
        """Lines up to the tagged one, or to the end of the connection."""
        lines = []
        while True:
            line = self.line()
            lines.append(line)
            if line.startswith(tag + " ") or not line:
                return lines

    def command(self, text):
        """Sends one command; the last line of the answer is the tagged one."""
        self._count += 1
        tag = f"t{self._count}"
        self.send(f"{tag} {text}\r\n")
        return self.answer(tag)

    def login(self, user, password):
        """The tagged reply to LOGIN, without its tag."""
        return self.command(f'LOGIN {user} "{password}"')[-1].partition(" ")[2]

    def starttls(self, context, name="localhost"):
        reply = self.command("STARTTLS")
        assert " OK " in reply[-1], reply
        self.socket = context.wrap_socket(self.socket, server_hostname=name)
        self._file = self.socket.makefile("rb")

    def at_end(self):
        """Has the other side closed, with nothing more to read?"""
        return self.line() == ""

    def close(self):
        try:
            self._file.close()
            self.socket.close()
        except OSError:
            pass
