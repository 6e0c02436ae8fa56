"""The MLflow registry: models, versions, artifacts on this disk, and what each model was trained on."""
