"""From face images and ratings to maps of what carried the impressions, compared between groups.

Predictions are impressions that raters would form, never facts about the person shown.

The public verbs are loaded when they are first used, so that importing the package is quick.
"""

__version__ = "0.1.0"
