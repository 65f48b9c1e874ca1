"""Collection of ratings from participants.

Input: images and settings of a study, and texts in the participants' languages. Output: `ratings.csv`, data
quality, and the analysis plan frozen before groups were compared. The order of a session (:mod:`.trials`) is
deterministic and seeded; answers are stored in one SQLite file (:mod:`.database`); the web server
(:mod:`.server`) and the jsPsych experiment (:mod:`.jspsych`) show the same pages.
"""
