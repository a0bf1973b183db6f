"""Published checkpoints: read without executing anything in them, renamed release by release."""
