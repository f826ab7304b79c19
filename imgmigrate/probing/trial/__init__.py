"""Find out what a registry does by writing to it, if that is asked for.

`trial.py` is the order of events and the cleaning up; `uploads.py` and `questions.py` ask one
question each. What may be answered, and what becomes of it, is `stores/registry/known`.
"""
