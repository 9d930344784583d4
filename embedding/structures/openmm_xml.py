"""Serialised OpenMM Systems: foreign XML in, a System out, built only from parts made of numbers.

OpenMM chooses what to build by the ``type`` attribute of each element, and some of those kinds run
code (a PythonForce unpickles its payload). So the text is read by three means that must agree before
OpenMM sees it: no markup declarations at all, every ``type`` in the raw text on the list below, and
well-formed XML for a second parser.
"""

import re
from typing import TYPE_CHECKING
from xml.parsers import expat

from drupe.errors import InputError

if TYPE_CHECKING:
    import openmm

__all__ = ["HARMLESS_FORCES", "check_forces", "load_system"]

#: Forces whose parameters are numbers and formulas: reading one back can run no foreign code.
HARMLESS_FORCES = frozenset(
    {
        "CMAPTorsionForce",
        "CMMotionRemover",
        "CustomAngleForce",
        "CustomBondForce",
        "CustomCompoundBondForce",
        "CustomExternalForce",
        "CustomGBForce",
        "CustomNonbondedForce",
        "CustomTorsionForce",
        "GBSAOBCForce",
        "HarmonicAngleForce",
        "HarmonicBondForce",
        "MonteCarloBarostat",
        "NonbondedForce",
        "PeriodicTorsionForce",
        "RBTorsionForce",
    }
)
_TABLES = frozenset({f"{kind}{dim}DFunction" for kind in ("Continuous", "Discrete") for dim in (1, 2, 3)})


def load_system(text: str, source: str = "the stored force field") -> "openmm.System":
    """Build the OpenMM System that ``text`` describes.

    Parameters
    ----------
    text
        XML written by ``openmm.XmlSerializer``.
    source
        Where the text is from, for messages.

    Raises
    ------
    InputError
        If the text is no plain OpenMM System, or holds a force that is not on the list.
    """
    kinds = set(re.findall(r"""\btype\s*=\s*["']([^"']*)["']""", text))
    foreign = sorted(kinds - HARMLESS_FORCES - _TABLES - {"System"})
    reason = _not_plain(text)
    if foreign or reason:
        raise InputError(
            f"{source} holds {', '.join(foreign) if foreign else f'XML that {reason}'}",
            remedy="read the structure again from its topology; only forces made of numbers are loaded",
        )
    import openmm

    try:
        system = openmm.XmlSerializer.deserialize(text)
    except Exception as error:  # OpenMMException, and std::exception wrapped by SWIG
        raise InputError(
            f"{source} cannot be built by OpenMM ({error})", remedy="serialise the System again"
        ) from error
    if not isinstance(system, openmm.System):
        raise InputError(
            f"{source} is a {type(system).__name__}, not a System",
            remedy="write it with openmm.XmlSerializer.serialize(system)",
        )
    return system


def check_forces(system: "openmm.System") -> None:
    """Refuse a System in memory with forces that a stored structure may not hold.

    Raises
    ------
    InputError
        Naming the kinds.
    """
    foreign = sorted({type(force).__name__ for force in system.getForces()} - HARMLESS_FORCES)
    if foreign:
        raise InputError(
            f"the OpenMM System holds {', '.join(foreign)}",
            remedy=f"pass the plain force field; kinds that are kept: {', '.join(sorted(HARMLESS_FORCES))}",
        )


def _not_plain(text: str) -> str:
    """Why the text is not the XML that OpenMM writes; empty when it is."""
    if "<!" in text:
        return "is not a plain OpenMM System: it declares a document type, an entity, a comment or CDATA"
    if "<?" in text[1:] or (text.startswith("<?") and not re.match(r'<\?xml version="1\.0"\s*\?>', text)):
        return "is not a plain OpenMM System: it has a processing instruction or an encoding of its own"
    if "PythonForce" in text:
        return "is not a plain OpenMM System: it names a PythonForce"
    if not re.search(r'<System\b[^>]*\btype="System"', text):
        return "is not a plain OpenMM System"
    parser = expat.ParserCreate("UTF-8")
    try:
        parser.Parse(text.encode("utf-8"), True)
    except (expat.ExpatError, UnicodeEncodeError) as error:
        return f"is not well-formed, so it is not a plain OpenMM System ({error}): the file may be cut off"
    return ""
