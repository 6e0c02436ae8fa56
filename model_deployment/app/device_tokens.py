"""Finds devices by their tokens in the state database, for the check of each request."""

from model_deployment.core.errors import Unavailable
from model_deployment.core.users import Role, User
from model_deployment.credentials.device_tokens import DeviceTokens
from model_deployment.state.database import Database, DatabaseError
from model_deployment.state.device_projects import DeviceProjectStore
from model_deployment.state.devices import DeviceStore


def device_tokens(database: Database) -> DeviceTokens:
    """The tokens of all projects.

    Whoever revokes or replaces a token, or removes a device or project, calls :meth:`DeviceTokens.forget`.
    """
    devices, projects = DeviceStore(database), DeviceProjectStore(database)

    async def lookup(token_hash: str) -> User | None:
        try:
            device = await devices.by_token(token_hash)
            found = [] if device is None else await projects.all()
        except DatabaseError as error:
            raise Unavailable(
                f"cannot check the token of a device now: {error}", retry_after=5
            ) from error
        for project in found:
            if device is not None and project.id == device.project_id:
                return User(device.name, Role.DEVICE, project.name, device.id)
        return None

    return DeviceTokens(lookup)
