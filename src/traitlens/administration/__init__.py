"""Check the installation, show the state of results folders, and write batch scripts and an app icon."""
