"""The flow from a study to a report; the only module that knows every room."""
