"""A ManageSieve client that shows every line."""
import base64
import socket
import ssl


def plain(user, password, authorize=""):
    return base64.b64encode(f"{authorize}\0{user}\0{password}".encode()).decode()


class Sieve:
    """A connection; reads the greeting on construction unless told not to."""

    def __init__(self, port, context=None, name="localhost", greeting=True, timeout=20, source=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout, source_address=source)
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname=name)
        self._file = self.socket.makefile("rb")
        self.greeting = self.answer() if greeting else []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _read(self):
        try:
            return self._file.readline()
        except (ConnectionResetError, ssl.SSLError):
            return b""

    def line(self):
        """The next line without its end; "" at the end of the connection."""
        return self._read().rstrip(b"\r\n").decode(errors="replace")

    def answer(self):
        """Lines up to OK, NO or BYE. Literals stand as the lines they take."""
        lines = []
        while line := self._read():
            lines.append(line.rstrip(b"\r\n").decode(errors="replace"))
            if line.startswith((b"OK", b"NO", b"BYE")):
                break
        return lines

    def send(self, text):
        self.socket.sendall(text if isinstance(text, bytes) else text.encode())

    def command(self, text):
        """Sends one command; the last line of the answer."""
        self.send(text + "\r\n")
        return (self.answer() or [""])[-1]

    def login(self, user, password):
        return self.command(f'AUTHENTICATE "PLAIN" "{plain(user, password)}"')

    def starttls(self, context, name="localhost"):
        """What is offered then."""
        reply = self.command("STARTTLS")
        assert reply.startswith("OK"), reply
        self.socket = context.wrap_socket(self.socket, server_hostname=name)
        self._file = self.socket.makefile("rb")
        return self.answer()

    def at_end(self):
        """Has the other side closed, with nothing more to read?"""
        return self.line() == ""

    def close(self):
        try:
            self._file.close()
            self.socket.close()
        except OSError:
            pass
