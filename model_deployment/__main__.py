"""``python -m model_deployment`` and the command ``model-deployment``."""

import sys

from model_deployment.cli.main import app
from model_deployment.core.errors import InvalidSettings, ModelDeploymentError


def main() -> None:
    """Run the command line. An error of ours is told in one line, without a trace."""
    try:
        app()
    except InvalidSettings as error:
        sys.stderr.write(f"{error.detail}\n")
        sys.exit(2)
    except ModelDeploymentError as error:
        sys.stderr.write(f"error: {error.detail}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
