"""openssl s_client, for what Python's ssl does not let one say or see."""
import subprocess


def s_client(port, *options, starttls=None, say="", timeout=20):
    """What s_client says of a connection, everything on it included; `say` is sent once TLS is up."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost"]
    if "-servername" in options or "-noservername" in options:
        command = command[:-2]
    command += ["-starttls", starttls] if starttls else []
    done = subprocess.run(command + [str(o) for o in options], input=say, capture_output=True, text=True, timeout=timeout, check=False)
    return done.stdout + done.stderr


def negotiated(port, *options, **more):
    """The lines of `-brief` as a dict; without "Protocol version" there was no handshake."""
    pairs = (line.partition(": ") for line in s_client(port, "-brief", *options, **more).splitlines())
    return {name: value for name, colon, value in pairs if colon}
