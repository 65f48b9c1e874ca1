"""Ratings collected from participants.

Comes in: a study's images and settings, texts in the participants' languages. Goes out: `ratings.csv` in the
study's form, the quality of its answers, and the plan that was frozen before groups were compared. The order
of a session (:mod:`.session`) is pure and seeded; what was answered lies in one SQLite file (:mod:`.store`);
the web front (:mod:`.serving`) and the jsPsych experiment (:mod:`.jspsych`) show the same pages.
"""
