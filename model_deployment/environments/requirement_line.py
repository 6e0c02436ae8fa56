"""One line of requirements: what kind it is, and the one form of it that all spellings have.

The format is pip's: https://pip.pypa.io/en/stable/reference/requirements-file-format/
"""

import os.path
import re
import shlex
from dataclasses import dataclass, replace
from enum import StrEnum
from urllib.parse import unquote

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)


class LineKind(StrEnum):
    """What a line is."""

    PACKAGE = "package"  # by its name, or from an address
    LOCAL = "local"  # a file or a folder of the model
    OPTION = "option"  # says where packages come from, or which are taken
    FOLDER_OPTION = "folder option"  # the same, with a folder of the model
    REQUIREMENTS = "requirements"  # another file of them
    CONSTRAINTS = "constraints"
    NOTHING = "nothing"  # its marker is not met


class InvalidLine(ValueError):
    """pip could not read it."""


@dataclass(frozen=True, slots=True)
class RequirementLine:
    """One line."""

    kind: LineKind
    #: In its one form, as it is given to pip or uv.
    text: str
    #: Name of the package, in lower case and with dashes; empty if the line does not say.
    name: str = ""
    #: The versions that it takes, such as ``==2.9.2``.
    versions: str = ""
    #: Of a file or a folder: its path below the model's folder.
    path: str = ""
    #: Of a folder of packages: where it is if there is nothing at ``path``.
    otherwise: str = ""


#: Options with a value that name a file or a folder; others that have a value; those without.
_FILES = {"-r": LineKind.REQUIREMENTS, "--requirement": LineKind.REQUIREMENTS}
_FILES |= {"-c": LineKind.CONSTRAINTS, "--constraint": LineKind.CONSTRAINTS}
_EDITABLE = ("-e", "--editable")
_LINKS = ("-f", "--find-links")
_INDEXES = ("-i", "--index-url", "--pypi-url", "--extra-index-url")
_LONG = {
    "-i": "--index-url",
    "--pypi-url": "--index-url",
    "-f": "--find-links",
    "-c": "--constraint",
}
#: ``--hash`` and the like, behind a package.
_OF_PACKAGE = re.compile(
    r"\s+--(hash|config-settings?|global-option|install-option)\b.*$", re.DOTALL
)
#: Before another option that is none of a package. Short ones may have their value without a space.
_FURTHER = re.compile(
    r"\s+(?=-(?:-(?!hash|config-setting|global-option|install-option)[a-z]|[rcefi]|[a-zA-Z][\s=]))"
)
_ADDRESS = re.compile(r"(?:[a-z0-9]+\+)?[a-z]{2,}://|file:", re.IGNORECASE)
_ARCHIVE = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tgz")
#: A package, and where it is. Behind an address there is a space before a marker.
_AT = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.-]*)\s*(?P<extras>\[[^\]]*\])?\s*@\s*(?P<address>\S+)(?P<marker>\s+;.*)?"
)
_EXTRAS = re.compile(r"(?P<path>[^\[\];]+?)(?P<extras>\[[^\]]*\])?\s*(?P<marker>;.*)?")


def split(line: str) -> list[str]:
    """The lines that a line stands for: pip takes several options in one, and uv does not."""
    return _FURTHER.split(line) if line.startswith("-") else [line]


def parse(line: str, python: str, folder: str = "") -> RequirementLine:
    """What a line without its comment is, for a Python version.

    Args:
        folder: where the file of the line is, below the model's folder. The files that it names are looked
            for there, what is installed in the model's folder, as by pip.

    Raises:
        InvalidLine: it is nothing that pip reads.
    """
    if any(not char.isprintable() and char != "\t" for char in line):
        raise InvalidLine("it has characters that cannot be printed")
    if line.startswith("-"):
        return _option(line, python, folder)
    match = _OF_PACKAGE.search(line)
    further = " ".join(match[0].split()) if match else ""
    text = line[: match.start()].strip() if match else line
    named = _AT.fullmatch(text)
    if (path := _relative(named["address"] if named else text)) is not None:
        # pip knows no paths behind a name, and uv looks elsewhere for them.
        behind = f"{named['extras'] or ''}{named['marker'] or ''}" if named else ""
        found = _local(f"{path}{behind}", further, python)
        return replace(found, name=canonicalize_name(named["name"])) if named else found
    if _is_path(text):
        return _local(text, further, python)
    if _ADDRESS.match(text):
        return RequirementLine(LineKind.PACKAGE, _with(text, further))
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise InvalidLine(str(error).splitlines()[0]) from error
    if _applies(requirement, python) is False:
        return RequirementLine(LineKind.NOTHING, "")
    name = canonicalize_name(requirement.name)
    requirement.name = name
    return RequirementLine(
        LineKind.PACKAGE, _with(str(requirement), further), name, str(requirement.specifier)
    )


def _applies(requirement: Requirement, python: str) -> bool | None:
    """Whether its marker is met; the marker is removed where that is certain."""
    marker = requirement.marker
    if marker is None:
        return True
    if "_full_version" in str(marker) or "implementation_version" in str(marker):
        return None  # the last number of the Python version may become another one
    try:
        met = marker.evaluate({"python_version": ".".join(python.split(".")[:2])})
    except (UndefinedComparison, UndefinedEnvironmentName):
        return None
    if met:
        requirement.marker = None
    return met


def _relative(address: str) -> str | None:
    """The path in an address such as ``file:wheels/own.whl``, or that stands in the place of one.

    None for an address with a place of its own, and for what is none.
    """
    if address[:5].lower() == "file:":
        path = unquote(address[5:].partition("#")[0])
        return None if path.startswith("/") else path
    return address if address.startswith(("./", "../")) else None


def _is_path(text: str) -> bool:
    named = _EXTRAS.fullmatch(text)
    path = named["path"].strip() if named else text
    if _ADDRESS.match(path) or " @" in path or "@ " in path:
        return False
    return "/" in path or path.startswith(".") or path.lower().endswith(_ARCHIVE)


def _local(text: str, further: str, python: str) -> RequirementLine:
    named = _EXTRAS.fullmatch(text)
    if named is None:
        raise InvalidLine("it is neither a package nor a path")
    if named["marker"]:
        probe = Requirement(f"x{named['marker']}")
        if _applies(probe, python) is False:
            return RequirementLine(LineKind.NOTHING, "")
    if named["path"].startswith("/"):
        return RequirementLine(
            LineKind.PACKAGE, _with(text, further), *_of_file(named["path"].strip())
        )
    path = _below(named["path"].strip())
    name, versions = _of_file(path)
    # Without "./", pip and uv take "src" for a package.
    return RequirementLine(
        LineKind.LOCAL,
        _with(f"./{path}{named['extras'] or ''}", further),
        name,
        versions,
        path,
    )


def _of_file(path: str) -> tuple[str, str]:
    """Name and version of the package in a file, by the file's name."""
    file = path.rpartition("/")[2]
    try:
        if file.endswith(".whl"):
            name, version = parse_wheel_filename(file)[:2]
        else:
            name, version = parse_sdist_filename(file)
    except (InvalidWheelFilename, InvalidSdistFilename):
        return "", ""
    return name, f"=={version}"


def _option(line: str, python: str, folder: str) -> RequirementLine:
    name, value = _split(line)
    if not value and (name in _FILES or name in (*_EDITABLE, *_LINKS, *_INDEXES)):
        raise InvalidLine("it names no file" if name in _FILES else "it names no place")
    path = _relative(value) or ("" if _ADDRESS.match(value) else value)
    if name in _FILES and path:
        return RequirementLine(_FILES[name], line, path=_below(os.path.join(folder, path)))  # noqa: PTH118
    if _FILES.get(name) is LineKind.REQUIREMENTS:
        raise InvalidLine("further requirements have to be in the model's folder")
    if name in _EDITABLE:
        # The place where it would be linked to is not there any more after the build.
        value = _without_egg(value) if _ADDRESS.match(value) else value
        return parse(value if _ADDRESS.match(value) or "/" in value else f"./{value}", python)
    if name in _LINKS and path and not path.startswith("/"):
        return _links(path, folder)
    return RequirementLine(LineKind.OPTION, _with(_LONG.get(name, name), value))


def _links(path: str, folder: str) -> RequirementLine:
    """A folder of packages, which pip takes beside the file that names it, else in the model's folder."""
    beside = os.path.join(folder, path)  # noqa: PTH118
    try:
        first = _below(beside)
    except InvalidLine:
        first = _below(path)
    try:
        second = _below(path)
    except InvalidLine:
        second = first
    return RequirementLine(LineKind.FOLDER_OPTION, "", path=first, otherwise=second)


def _without_egg(address: str) -> str:
    """An address without the name of what is there, which uv does not want to be told."""
    address, _, behind = address.partition("#")
    further = "&".join(one for one in behind.split("&") if not one.startswith("egg="))
    return f"{address}#{further}" if further else address


def _split(line: str) -> tuple[str, str]:
    match = re.fullmatch(r"(--[A-Za-z0-9-]+|-[A-Za-z])(?:\s*=\s*|\s+)?(.*)", line)
    if match is None:
        raise InvalidLine("there is no such option")
    value = match[2].strip()
    if value[:1] in "'\"" and value:
        try:
            value = " ".join(shlex.split(value))
        except ValueError as error:
            raise InvalidLine(str(error)) from error
    return match[1], value


def _below(path: str) -> str:
    """A path below the model's folder, in its shortest form.

    Raises:
        InvalidLine: it is elsewhere.
    """
    short = os.path.normpath(path) if path else ""
    if not short:
        raise InvalidLine("it names no file")
    if short.startswith("/") or short == ".." or short.startswith("../"):
        raise InvalidLine("the path is not below the model's folder")
    return short


def _with(text: str, further: str) -> str:
    return f"{text} {further}" if further else text
