"""The key that signs releases: RFC 8032, and a file that is never replaced by another."""

import base64
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from model_deployment.devices.signing import (
    KEY_FILE,
    PUBLIC_FILE,
    KeyFile,
    ReleaseKey,
    UnusableKey,
    open_key,
)
from tests.support.small_disk import fill, small_disk

#: RFC 8032, section 7.1, tests 1 and 2, whose messages are text: secret, public key, message, signature.
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "r",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00",
    ),
]


@pytest.mark.parametrize(("secret", "public", "message", "signature"), VECTORS)
def test_signatures_are_those_of_rfc_8032(
    secret: str, public: str, message: str, signature: str
) -> None:
    key = ReleaseKey.from_seed(bytes.fromhex(secret))
    assert base64.b64decode(key.public).hex() == public
    assert base64.b64decode(key.sign(message)).hex() == signature
    assert key.verifies(message, key.sign(message))
    assert not key.verifies(message + " ", key.sign(message))
    assert not key.verifies(message, key.sign(message)[:-4])
    assert not key.verifies(message, "no base64")


def test_the_id_is_the_beginning_of_the_digest_of_the_public_key() -> None:
    key = ReleaseKey.from_seed(bytes.fromhex(VECTORS[0][0]))
    assert key.id == "21fe31dfa154a261"  # sha256sum of the 32 bytes


def test_the_first_key_is_made_once_and_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    key = open_key(tmp_path)
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert (tmp_path / PUBLIC_FILE).read_text().strip() == key.public
    assert open_key(tmp_path).id == open_key(tmp_path, trusted=True).id == key.id
    assert sorted(file.name for file in tmp_path.iterdir()) == [KEY_FILE, PUBLIC_FILE]


def test_processes_that_make_a_key_at_once_have_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = {key.id for key in threads.map(lambda _: open_key(tmp_path), range(32))}
    assert len(found) == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == [KEY_FILE, PUBLIC_FILE]


def _pem(key: object) -> bytes:
    encoded: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined]
    return encoded


def _encrypted(content: bytes) -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")
    )


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:60],
        lambda content: content.replace(b"M", b"N", 1),
        lambda content: b"\0" * len(content),
        lambda content: b"x" * 100_000,
        lambda content: _pem(generate_private_key(SECP256R1())),
        lambda content: _pem(Ed25519PrivateKey.generate()),
        _encrypted,
    ],
    ids=["empty", "cut off", "flipped", "zeros", "long", "other kind", "other key", "encrypted"],
)
def test_a_damaged_key_is_refused_and_stays(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    open_key(tmp_path)
    path = tmp_path / KEY_FILE
    content = damage(path.read_bytes())
    path.write_bytes(content)
    with pytest.raises(UnusableKey, match=r"cannot sign releases: .*devices trust"):
        open_key(tmp_path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("trusted", [True, False])
def test_a_lost_key_is_not_replaced(tmp_path: Path, trusted: bool) -> None:
    open_key(tmp_path)
    (tmp_path / KEY_FILE).unlink()
    if trusted:  # the rows tell of devices, whatever files there are
        (tmp_path / PUBLIC_FILE).unlink()
    with pytest.raises(UnusableKey, match="is missing; devices trust this key"):
        open_key(tmp_path, trusted=trusted)
    assert not (tmp_path / KEY_FILE).exists()


@pytest.mark.parametrize("content", [None, "", "AAAA", "no base64!"])
def test_the_public_half_is_written_again(tmp_path: Path, content: str | None) -> None:
    key, path = open_key(tmp_path), tmp_path / PUBLIC_FILE
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    assert open_key(tmp_path).id == key.id
    assert path.read_text().strip() == key.public


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).mkdir()
    with pytest.raises(UnusableKey, match="cannot be read or written"):
        open_key(tmp_path)
    (tmp_path / KEY_FILE).rmdir()
    (tmp_path / KEY_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnusableKey):
        open_key(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_key_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    open_key(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o644)
    open_key(tmp_path)
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        fill(disk)
        with pytest.raises(UnusableKey, match="No space left on device"):
            open_key(disk)
        assert [file.name for file in disk.iterdir()] == ["filling"]
        (disk / "filling").unlink()
        assert open_key(disk).id == open_key(disk).id


async def test_a_key_file_is_opened_when_it_is_needed(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    with pytest.raises(UnusableKey, match="is missing"):
        file.id()  # of a release, which was signed
    assert not (tmp_path / KEY_FILE).exists()
    key = await file.get()
    assert file.id() == KeyFile(tmp_path).id() == key.id

    async def trusted() -> bool:
        return True

    with pytest.raises(UnusableKey):
        await KeyFile(tmp_path / "other", trusted).get()


def test_a_shown_key_does_not_tell_its_secret(tmp_path: Path) -> None:
    key = open_key(tmp_path)
    secret = key.pem().decode().split("\n")[1]
    assert len(secret) == 64
    assert secret not in f"{key!r} {key.public} {key.id}"
