"""Training on Lightning. Never imported by inference."""
