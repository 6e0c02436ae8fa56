"""The use cases of devices, as API and dashboard call them."""

from model_deployment.devices.command_cases import CommandCases
from model_deployment.devices.project_cases import ProjectCases
from model_deployment.devices.registration_cases import RegistrationCases
from model_deployment.devices.release_cases import ReleaseCases


class Devices(ProjectCases, ReleaseCases, RegistrationCases, CommandCases):
    """Projects, releases, devices and commands: all that people and programs do with them.

    ``project`` and ``device`` are names as they came from a caller; ``by`` is the user, maybe empty. Each
    call raises UnknownProject or UnknownDevice where there is none of that name, and InvalidName where no
    such name can be.
    """
