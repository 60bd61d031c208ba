"""The client's half of SASL mechanisms. A mechanism is a generator: what it yields is the client's next response (None
first: the server is to speak first), what is sent to it is the server's challenge; bytes, without base64."""
import base64
import hashlib
import hmac
import os
import re

MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256")


def client(mechanism, user, password, authorize=""):
    return {"PLAIN": plain, "LOGIN": login, "CRAM-MD5": cram_md5, "DIGEST-MD5": digest_md5}.get(
        mechanism, lambda *a: scram(mechanism, *a))(user, password, authorize)


def plain(user, password, authorize=""):
    yield f"{authorize}\0{user}\0{password}".encode()


def login(user, password, _authorize=""):
    assert (yield None) == b"Username:"
    assert (yield user.encode()) == b"Password:"
    yield password.encode()


def cram_md5(user, password, _authorize=""):
    challenge = yield None
    assert re.fullmatch(rb"<\d+\.\d+@[^>]+>", challenge), challenge
    yield f"{user} {hmac.new(password.encode(), challenge, 'md5').hexdigest()}".encode()


def digest_md5(user, password, _authorize=""):
    """RFC 2831, qop=auth."""
    def md5(*parts):
        return hashlib.md5(b":".join(parts)).digest()
    challenge = dict(re.findall(r'(\w[\w-]*)="?([^",]*)"?', (yield None).decode()))
    realm, nonce, cnonce, uri = challenge.get("realm", ""), challenge["nonce"], os.urandom(12).hex(), "imap/localhost"
    secret = md5(user.encode(), realm.encode(), password.encode())
    first = hashlib.md5(secret + f":{nonce}:{cnonce}".encode()).hexdigest().encode()

    def proof(verb):
        second = md5(verb, uri.encode()).hex().encode()
        return md5(first, nonce.encode(), b"00000001", cnonce.encode(), b"auth", second).hex()
    final = yield (f'username="{user}",realm="{realm}",nonce="{nonce}",cnonce="{cnonce}",nc=00000001,qop=auth,'
                   f'digest-uri="{uri}",response={proof(b"AUTHENTICATE")},charset=utf-8').encode()
    assert final == f"rspauth={proof(b'')}".encode(), final
    yield b""


def scram(mechanism, user, password, authorize=""):
    """RFC 5802 without channel binding; the server's signature is checked."""
    digest = mechanism.removeprefix("SCRAM-").replace("-", "").lower()
    gs2 = f"n,{'a=' + authorize if authorize else ''},"
    nonce = base64.b64encode(os.urandom(18)).decode().replace("/", "_")
    first = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
    server = (yield (gs2 + first).encode()).decode()
    found = re.fullmatch(r"r=([^,]+),s=([^,]+),i=(\d+)", server)
    assert found and found.group(1).startswith(nonce), server
    salted = hashlib.pbkdf2_hmac(digest, password.encode(), base64.b64decode(found.group(2)), int(found.group(3)))
    final = f"c={base64.b64encode(gs2.encode()).decode()},r={found.group(1)}"
    everything = f"{first},{server},{final}".encode()

    def mac(key, text):
        return hmac.new(key, text, digest).digest()
    key = mac(salted, b"Client Key")
    signature = mac(hashlib.new(digest, key).digest(), everything)
    proof = bytes(a ^ b for a, b in zip(key, signature))
    verdict = yield f"{final},p={base64.b64encode(proof).decode()}".encode()
    expected = base64.b64encode(mac(mac(salted, b"Server Key"), everything))
    assert verdict == b"v=" + expected, verdict
    yield b""


def apop(greeting, password):
    """The digest for the challenge in a POP3 greeting."""
    return hashlib.md5((re.search(r"<[^>]+>$", greeting).group(0) + password).encode()).hexdigest()
