"""Backends of all protocols that let most logins in and fail the rest in every way they know, in a process of their own."""
import asyncio
import multiprocessing
import random
import socket
import ssl

from .dialogues import DIALOGUES

PLAIN = {dialogue.protocol: dialogue for dialogue in reversed(DIALOGUES) if not dialogue.fields}
STARTTLS = {dialogue.protocol: dialogue for dialogue in DIALOGUES if dialogue.name == "starttls"}
REFUSALS = {
    "imap": (b"L NO [AUTHENTICATIONFAILED] no\r\n", b"L NO [UNAVAILABLE] later\r\n", b"L NO [LIMIT] too many\r\n", b"* BYE gone\r\n"),
    "pop3": (b"-ERR [AUTH] no\r\n", b"-ERR [SYS/TEMP] later\r\n", b"-ERR [IN-USE] locked\r\n"),
    "submission": (b"535 5.7.8 no\r\n", b"454 4.7.0 later\r\n", b"535-5.7.8 no\r\n535 5.7.8 really\r\n", b"354 what\r\n"),
    "sieve": (b'NO "no"\r\n', b'NO (TRYLATER) "later"\r\n', b'BYE "gone"\r\n', b'NO {3}\r\nno!\r\n'),
}
NONSENSE = (b"\0\1\2\xff\x1b[31m\r\n", b"x" * 5000 + b"\r\n", b"x" * 70000, b"\r\n" * 300, b"HTTP/1.1 400 Bad\r\n\r\n", b"{4294967296}\r\n")
WAYS = ("close", "reset", "nonsense", "refuse", "early")


class Mixed:
    """`ports` of each protocol: plain, starttls. Of `failing` in a hundred logins something goes wrong; of `stalling` nothing goes on."""

    def __init__(self, pair, failing=25, stalling=1, seed=1):
        self._listeners = {(protocol, kind): socket.create_server(("127.0.0.1", 0), backlog=1024)
                           for protocol in PLAIN for kind in ("plain", "starttls")}
        self.ports = {key: listener.getsockname()[1] for key, listener in self._listeners.items()}
        self._process = multiprocessing.get_context("fork").Process(target=self._run, args=(pair, failing, stalling, seed), daemon=True)
        self._process.start()
        for listener in self._listeners.values():
            listener.close()

    def stop(self):
        self._process.terminate()
        self._process.join(10)

    def _run(self, pair, failing, stalling, seed):
        self._random, self._failing, self._stalling = random.Random(seed), failing, stalling
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pair.cert, pair.key)
        asyncio.run(self._serve())

    async def _serve(self):
        for (protocol, kind), listener in self._listeners.items():
            dialogue = (STARTTLS if kind == "starttls" else PLAIN)[protocol]

            async def talk(reader, writer, dialogue=dialogue):
                try:
                    await self._talk(dialogue, reader, writer)
                except (OSError, EOFError, ssl.SSLError, asyncio.LimitOverrunError):
                    pass
                finally:
                    writer.close()
            await asyncio.start_server(talk, sock=listener)
        await asyncio.Event().wait()

    async def _talk(self, dialogue, reader, writer):
        draw = self._random.randrange(100)
        if draw < self._stalling:
            way = "stall"
        elif draw < self._failing:
            way = self._random.choice(WAYS)
        else:
            way = ""
        end = self._random.randrange(dialogue.size) if way else dialogue.size
        last = dialogue.steps[-1]
        for step in dialogue.steps:
            if way == "refuse" and step is last:
                writer.write(self._random.choice(REFUSALS[dialogue.protocol]))
                await reader.read(100)
                return
            if way != "refuse" and end < len(step.say):
                writer.write(step.say[:end])
                return await self._fail(way, dialogue, reader, writer)
            end -= len(step.say)
            writer.write(step.say)
            if step.tls:
                await writer.start_tls(self._context)
            for _ in step.hear:
                if not await reader.readline():
                    return
        while line := await reader.readline():  # logged in: an echo, until either side has had enough
            if self._random.randrange(10) == 0:
                return
            writer.write(line)

    async def _fail(self, way, dialogue, reader, writer):
        if way == "reset":
            writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()
        elif way == "nonsense":
            writer.write(self._random.choice(NONSENSE))
            await reader.read(100)
        elif way == "early":
            writer.write(b"".join(step.say for step in dialogue.steps))
            await reader.read(100)
        elif way == "stall":
            while await reader.read(4096):
                pass
