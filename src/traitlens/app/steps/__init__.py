"""Steps of the app's page."""
