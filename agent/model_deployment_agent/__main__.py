"""``model-deployment-agent``, also as ``python -m model_deployment_agent``."""

import sys

from model_deployment_agent.cli import run


def main() -> None:
    """Run the command line; ends the process with its exit status."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
