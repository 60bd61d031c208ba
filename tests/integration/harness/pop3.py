"""A POP3 client that shows every line, where poplib hides them."""
import base64
import socket
import ssl


def plain(user, password, authorize=""):
    return base64.b64encode(f"{authorize}\0{user}\0{password}".encode()).decode()


class Pop3:
    """A connection; reads the greeting on construction unless told not to."""

    def __init__(self, port, context=None, name="localhost", greeting=True, timeout=20, source=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout, source_address=source)
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname=name)
        self._file = self.socket.makefile("rb")
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

    def send(self, text):
        self.socket.sendall(text if isinstance(text, bytes) else text.encode())

    def command(self, text):
        """Sends one command; the first line of the answer."""
        self.send(text + "\r\n")
        return self.line()

    def listing(self, text):
        """The lines between +OK and the dot."""
        first = self.command(text)
        assert first.startswith("+OK"), first
        lines = []
        while (line := self._file.readline()) != b".\r\n":
            assert line, "the connection ended in a listing"
            lines.append(line.rstrip(b"\r\n").decode(errors="replace"))
        return lines

    def login(self, user, password):
        """The answer to PASS, or to a USER that was refused."""
        reply = self.command(f"USER {user}")
        return self.command(f"PASS {password}") if reply.startswith("+OK") else reply

    def stls(self, context, name="localhost"):
        reply = self.command("STLS")
        assert reply.startswith("+OK"), reply
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
