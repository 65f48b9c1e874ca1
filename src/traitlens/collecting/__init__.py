"""Collection of ratings from participants.

Input: images and settings of a study, and texts in the participants' languages. Output: `ratings.csv`, tables
of data quality, and the analysis plan, which is frozen before groups are compared. The order of a session
(:mod:`.session_steps`) is determined by a seed; answers are stored in one SQLite file (:mod:`.database`). The
web server (:mod:`.server`) and the jsPsych experiment (:mod:`.jspsych`) show the same pages.
"""
