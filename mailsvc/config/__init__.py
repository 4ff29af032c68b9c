"""From YAML to frozen, checked settings."""
