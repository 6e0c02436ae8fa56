"""The settings of replicas, of containers, and of warm parents."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from model_deployment.core.scaling import Scaling
from model_deployment.settings import model_environment
from model_deployment.settings.deploy_defaults import DeployDefaults
from model_deployment.settings.types import Bytes, EngineUrl, Seconds


class LaunchSettings(DeployDefaults):
    """What the settings have for several launches, containers and warm parents."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    # -- containers of model servers --
    container_engine: EngineUrl = "unix:///var/run/docker.sock"
    """Address of the container engine for deployments with `start_method=container`: `unix:///PATH` or
    `http://HOST:PORT`. Docker, or a socket of Podman."""
    image_base: str = Field("python:{python}-slim", min_length=1)
    """Image that the environments of models are built on. `{python}` stands for the version of Python that
    the model names, such as `3.11`."""
    image_network: str = ""
    """Network of the engine in which environments are built. Default: the engine's own default."""

    # -- replicas of deployments with a range of them --
    scale_up_wait: Seconds = Field(0.25, ge=0)
    """Seconds that requests wait on average, above which a deployment gets more replicas."""
    scale_down_after: Seconds = Field(60.0, gt=0)
    """Seconds in which fewer replicas have to be enough, before a deployment gets fewer."""

    # -- built environments, and their warm parents --
    environment_grace: Seconds = Field(600.0, ge=0)
    """Seconds after which a built environment (`env_manager` `uv`, `virtualenv`, `conda`) is removed that
    no deployment needs."""
    memory_guess_parent: Bytes = Field(250 * 1024 * 1024, ge=1)
    """Bytes of memory that the warm parent of a built environment (`env_manager` `uv`, `virtualenv`,
    `conda`) is expected to take, until it is measured."""

    @property
    def scaling(self) -> Scaling:
        """The limits of the rule by which replicas follow requests."""
        return Scaling(patience=self.scale_up_wait, removes_after=self.scale_down_after)

    @property
    def build_environment(self) -> dict[str, str]:
        """Where builds of images get packages from, with passwords that are part of it."""
        return model_environment.for_image_builds()
