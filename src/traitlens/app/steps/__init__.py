"""The six steps of the app's page, each drawn by a function `draw`."""
