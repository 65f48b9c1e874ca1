"""Trials of an experiment, which are ratings joined with the alterations of the rated pictures."""

import pandas as pd

from traitlens.columns import IMAGE, REGION, TRAIT
from traitlens.experiment.effects import BASE, STEP


def join_trials(ratings: pd.DataFrame, pictures: pd.DataFrame) -> pd.DataFrame:
    """Join ratings with the alterations of the rated pictures.

    Parameters
    ----------
    ratings : DataFrame
        A row per rating: rater, group, image, trait, rating.
    pictures : DataFrame
        A row per picture: image, trait (for which it was altered), base, region, step.

    Returns
    -------
    DataFrame
        The ratings with base, region and step; ratings on other traits are left out.
    """
    columns = [IMAGE, TRAIT, BASE, REGION, STEP]
    return ratings.merge(pictures[columns], on=[IMAGE, TRAIT], how="inner", validate="many_to_one")
