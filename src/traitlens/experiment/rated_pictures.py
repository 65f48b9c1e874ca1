"""Trials of an experiment: ratings joined with the alterations of the rated pictures."""

import pandas as pd

from traitlens.columns import IMAGE, REGION, TRAIT
from traitlens.experiment.effects import BASE, STEP


def join_trials(ratings: pd.DataFrame, pictures: pd.DataFrame) -> pd.DataFrame:
    """Join ratings with the alterations of the rated pictures.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating.
    pictures : DataFrame
        image, trait, base, region, step.

    Returns
    -------
    DataFrame
        The ratings of pictures on the traits that they were made for, with base, region and step.
    """
    columns = [IMAGE, TRAIT, BASE, REGION, STEP]
    return ratings.merge(pictures[columns], on=[IMAGE, TRAIT], how="inner", validate="many_to_one")
