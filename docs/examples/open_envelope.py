#!/usr/bin/env python3
"""Open an envelope of pg_ward with a stock AES-256-GCM.

Usage: open_envelope.py KEY_HEX ENVELOPE_HEX [AAD]

Needs the Python package "cryptography" (Debian: python3-cryptography). An example: a real key does
not belong on a command line, where other users of the machine can see it.
"""
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC


def cmac(key: bytes, message: bytes) -> bytes:
    mac = CMAC(AES(key))
    mac.update(message)
    return mac.finalize()


def open_envelope(key: bytes, envelope: bytes, aad: "bytes | None" = None) -> bytes:
    header, nonce, sealed = envelope[:12], envelope[12:36], envelope[36:]
    if len(envelope) < 52 or header[:2] != b"\xe7\x01" or header[2] not in (1, 2, 3) or header[3]:
        raise ValueError("not an envelope of suite 1")
    message_key = b"".join(cmac(key, bytes([0, i]) + b"X\0" + nonce[:12]) for i in (1, 2))
    length = len(aad or b"").to_bytes(8, "big")
    bound = b"ward/env/v1" + header + bytes([aad is not None]) + length + (aad or b"")
    return AESGCM(message_key).decrypt(nonce[12:], sealed, bound)


def main() -> int:
    if len(sys.argv) not in (3, 4):
        print(__doc__, file=sys.stderr)
        return 2
    key, envelope = bytes.fromhex(sys.argv[1]), bytes.fromhex(sys.argv[2])
    aad = sys.argv[3].encode() if len(sys.argv) == 4 else None
    try:
        sys.stdout.buffer.write(open_envelope(key, envelope, aad))
    except (InvalidTag, ValueError) as error:
        reason = "authentication failed" if isinstance(error, InvalidTag) else error
        print(f"cannot open this envelope: {reason}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
