#!/usr/bin/env python3
"""Open an envelope of pg_ward that was encrypted with a password.

Usage: open_password_envelope.py PASSWORD ENVELOPE_HEX [AAD]

Needs the Python package "cryptography" (Debian: python3-cryptography). An example: a real password does
not belong on a command line, where other users of the machine can see it.
"""
import hashlib
import hmac
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def cmac(key: bytes, message: bytes) -> bytes:
    mac = CMAC(AES(key))
    mac.update(message)
    return mac.finalize()


def open_envelope(password: bytes, envelope: bytes, aad: "bytes | None" = None) -> bytes:
    header, nonce, sealed = envelope[:57], envelope[57:81], envelope[81:]
    start = header[:2] + header[3:5]
    if len(envelope) < 97 or start != b"\xe7\x03\x00\x01" or header[2] not in (1, 2, 3):
        raise ValueError("not an envelope of suite 3")
    iterations, salt, commitment = int.from_bytes(header[5:9], "big"), header[9:25], header[25:]
    if not 100_000 <= iterations <= 10_000_000:
        raise ValueError("the number of iterations is out of range")
    stretched = hashlib.pbkdf2_hmac("sha256", password, salt, iterations)
    committed = HKDF(SHA256(), 32, None, b"ward/password-commitment/v1").derive(stretched)
    if not hmac.compare_digest(committed, commitment):
        raise ValueError("wrong password")
    key = HKDF(SHA256(), 32, None, b"ward/password-key/v1").derive(stretched)
    message_key = b"".join(cmac(key, bytes([0, i]) + b"X\0" + nonce[:12]) for i in (1, 2))
    length = len(aad or b"").to_bytes(8, "big")
    bound = b"ward/env/v1" + header + bytes([aad is not None]) + length + (aad or b"")
    return AESGCM(message_key).decrypt(nonce[12:], sealed, bound)


def main() -> int:
    if len(sys.argv) not in (3, 4):
        print(__doc__, file=sys.stderr)
        return 2
    password, envelope = sys.argv[1].encode(), bytes.fromhex(sys.argv[2])
    aad = sys.argv[3].encode() if len(sys.argv) == 4 else None
    try:
        sys.stdout.buffer.write(open_envelope(password, envelope, aad))
    except (InvalidTag, ValueError) as error:
        reason = "authentication failed" if isinstance(error, InvalidTag) else error
        print(f"cannot open this envelope: {reason}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
