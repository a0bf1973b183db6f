"""Using a trained network: predict, evaluate. Never imports training."""
