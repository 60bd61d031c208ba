"""An SMTP client that shows every line, where smtplib hides them, and a server that keeps what it is sent."""
import base64
import socket
import ssl
import threading


def plain(user, password, authorize=""):
    return base64.b64encode(f"{authorize}\0{user}\0{password}".encode()).decode()


class Smtp:
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

    def reply(self):
        """The lines of the next reply."""
        lines = [self.line()]
        while lines[-1][3:4] == "-":
            lines.append(self.line())
        return lines

    def command(self, text):
        """Sends one command; the last line of the answer."""
        self.send(text + "\r\n")
        return self.reply()[-1]

    def ehlo(self, name="client.example"):
        """The keywords of the answer."""
        self.send(f"EHLO {name}\r\n")
        lines = self.reply()
        assert lines[0].startswith("250"), lines
        return [line[4:] for line in lines[1:]]

    def login(self, user, password):
        return self.command(f"AUTH PLAIN {plain(user, password)}")

    def mail(self, sender, to, text):
        """Sends a message; the answer to its end."""
        for command, good in ((f"MAIL FROM:<{sender}>", "250 "), (f"RCPT TO:<{to}>", "250 "), ("DATA", "354 ")):
            answer = self.command(command)
            assert answer.startswith(good), (command, answer)
        return self.command(text.replace("\n", "\r\n") + "\r\n.")

    def starttls(self, context, name="localhost"):
        answer = self.command("STARTTLS")
        assert answer.startswith("220 "), answer
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


class SmtpSink:
    """Takes every message; `messages` are (sender, recipients, text). What Dovecot's submission service relays to."""

    def __init__(self):
        self.messages, self._listener = [], socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            with connection, connection.makefile("rwb", buffering=0) as file:
                self._talk(file)
        except (OSError, ValueError):
            pass

    def _talk(self, file):
        sender, recipients = "", []
        file.write(b"220 sink.example ESMTP\r\n")
        while line := file.readline().decode(errors="replace").rstrip("\r\n"):
            word, _, rest = line.partition(" ")
            word = word.upper()
            if word == "EHLO":
                file.write(b"250-sink.example\r\n250-8BITMIME\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 9998976\r\n")
                continue
            if word == "MAIL":
                sender, recipients = rest.partition("<")[2].partition(">")[0], []
            elif word == "RCPT":
                recipients.append(rest.partition("<")[2].partition(">")[0])
            elif word == "DATA":
                file.write(b"354 go on\r\n")
                text = b""
                while (data := file.readline()) not in (b".\r\n", b""):
                    text += data[1:] if data.startswith(b".") else data
                self.messages.append((sender, recipients, text.decode(errors="replace")))
            elif word == "QUIT":
                file.write(b"221 2.0.0 Bye\r\n")
                return
            file.write(b"250 2.0.0 ok\r\n")

    def find(self, text):
        """The message with that text in it, or None."""
        return next((message for message in self.messages if text in message[2]), None)

    def stop(self):
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
