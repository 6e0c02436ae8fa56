"""What a deploy would take."""

from dataclasses import dataclass

from model_deployment.core.options import Options


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a deploy would take. Memory in bytes, with that of a warm parent which has to be started."""

    memory_needed: int
    memory_available: int
    memory_total: int
    ports_free: int
    options: Options
    #: Those of a deploy that names none.
    defaults: Options
    #: Why it would be refused; empty if it would not.
    shortage: str
