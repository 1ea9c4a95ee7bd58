"""What the commands do. Each module has ``run(config, overrides)``."""
