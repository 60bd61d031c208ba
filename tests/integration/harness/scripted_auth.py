"""An auth server that says what it is told."""
import os
import queue
import socket
import threading

FLAGS = {"PLAIN": "\tplaintext", "LOGIN": "\tplaintext", "XOAUTH2": "\tplaintext", "OAUTHBEARER": "\tplaintext",
         "APOP": "\tprivate\tdictionary\tactive", "CRAM-MD5": "\tdictionary\tactive", "ANONYMOUS": "\tanonymous"}


class ScriptedAuth:
    """Offers `mechanisms`. `answer` is called with the words of each AUTH and CONT and gives the line to say, or None to say
    nothing; without `answer` they are left in `requests`, for say(). Without `mechanisms` it does not even greet."""

    def __init__(self, path, mechanisms, answer=None):
        self.requests, self.answer = queue.Queue(), answer
        self.mechanisms = mechanisms
        self.open = []  # every connection there ever was
        self._asked = None  # who asked last: more than one process may be connected
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        os.chmod(path, 0o666)
        self.listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def connections(self):
        return len(self.open)

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.open.append(connection)
            if self.mechanisms is None:
                continue
            mechanisms = "".join(f"MECH\t{name}{FLAGS.get(name, '')}\n" for name in self.mechanisms)
            connection.sendall(f"VERSION\t1\t2\n{mechanisms}SPID\t{os.getpid()}\nCUID\t{len(self.open)}\n"
                               f"COOKIE\t{'0' * 32}\nDONE\n".encode())
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection):
        try:
            for line in connection.makefile("rb"):
                fields = line.decode(errors="surrogateescape").rstrip("\n").split("\t")
                if fields[0] not in ("AUTH", "CONT"):
                    continue
                self._asked = connection
                self.requests.put(fields)
                said = self.answer(fields) if self.answer else None
                if said is not None:
                    connection.sendall((said + "\n").encode(errors="surrogateescape"))
        except OSError:
            pass  # drop() was quicker

    def say(self, *fields):
        """To the one that asked last."""
        self._asked.sendall(("\t".join(fields) + "\n").encode(errors="surrogateescape"))

    def drop(self):
        """Ends every connection."""
        for connection in self.open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()
        self.drop()
