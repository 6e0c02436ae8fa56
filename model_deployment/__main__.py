"""``python -m model_deployment`` and the command ``model-deployment``."""

from model_deployment.cli import app


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
