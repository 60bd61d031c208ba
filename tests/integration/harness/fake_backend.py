"""Backends that behave as a test wants, in a thread of the test."""
import selectors
import socket
import ssl
import threading
import time

GREETING = b"* OK [CAPABILITY IMAP4rev1 SASL-IR ID LITERAL+ STARTTLS AUTH=PLAIN] fake ready.\r\n"


class FakeBackend:
    """Accepts everybody and runs `talk(connection)` in a thread each; the connection closes after it."""

    def __init__(self, talk, context=None):
        self._talk, self._context = talk, context
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self.received = bytearray()
        self._open, self._lock, self._ended = set(), threading.Lock(), False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self._ended:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with self._lock:
            self._open.add(connection)
        try:
            connection.settimeout(60)
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
            self._talk(Talk(self, connection))
        except (OSError, EOFError, ssl.SSLError):
            pass
        finally:
            connection.close()

    def stop(self):
        self._ended = True
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        with self._lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


class Talk:
    """One connection to a FakeBackend."""

    def __init__(self, backend, connection):
        self.backend, self._connection, self._file = backend, connection, connection.makefile("rb")

    def send(self, data):
        self._connection.sendall(data)

    def line(self):
        """The next line, with its end; EOFError when there is none."""
        line = self._file.readline()
        self.backend.received += line
        if not line:
            raise EOFError
        return line

    def close_abruptly(self):
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._connection.close()

    def wait_for_input(self):
        """Until the other side has sent something, which stays unread."""
        self._connection.recv(1, socket.MSG_PEEK)

    def starttls(self, context):
        """The other side may have sent nothing behind its STARTTLS."""
        self._connection = context.wrap_socket(self._connection, server_side=True)
        self._file = self._connection.makefile("rb")


def silent(talk):
    """Never says anything."""
    time.sleep(60)
    talk.line()


def serve(talk, greeting=GREETING):
    """Lets everybody in and answers NOOP, LOGOUT and BLAST."""
    talk.send(greeting)
    while True:
        line = talk.line()
        tag, _, rest = line.rstrip(b"\r\n").partition(b" ")
        word = rest.split(b" ")[0].upper()
        if word == b"LOGIN" or word == b"AUTHENTICATE":
            talk.send(tag + b" OK [CAPABILITY IMAP4rev1 IDLE] Logged in\r\n")
        elif word == b"ID":
            talk.send(b"* ID NIL\r\n" + tag + b" OK ID completed.\r\n")
        elif word == b"LOGOUT":
            talk.send(b"* BYE bye\r\n" + tag + b" OK done\r\n")
            return
        else:
            talk.send(tag + b" OK " + word + b" completed.\r\n")


class CrowdBackend:
    """serve() for thousands of connections, one thread for all."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._input, self._ended = {}, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def connections(self):
        return len(self._input)

    def _run(self):
        while not self._ended.is_set():
            for key, _ in self._selector.select(0.2):
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._read(key.fileobj)

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setblocking(False)
            connection.send(GREETING)
            self._input[connection] = b""
            self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection):
        try:
            data = connection.recv(4096)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(connection)
            del self._input[connection]
            connection.close()
            return
        *lines, self._input[connection] = (self._input[connection] + data).split(b"\r\n")
        for line in lines:
            tag, _, rest = line.partition(b" ")
            word = rest.split(b" ")[0].upper()
            text = b"[CAPABILITY IMAP4rev1] Logged in" if word == b"LOGIN" else word + b" completed."
            connection.send(tag + b" OK " + text + b"\r\n")

    def die(self):
        """Closes all connections and takes no more."""
        self._ended.set()
        self._thread.join(5)
        self._listener.close()
        for connection in list(self._input):
            connection.close()

    def stop(self):
        self._ended.set()
        self._thread.join(5)
        for connection in list(self._input):
            connection.close()
        self._listener.close()
