"""The commands, each imported only when it is called: `--help` must not wait for what they need."""
