"""What install, upgrade and uninstall are made of. Standard library only: they run before anything is installed."""
