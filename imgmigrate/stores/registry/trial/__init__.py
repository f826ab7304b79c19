"""Find out what a registry does by writing to it: `validate --online --write-test`.

`trial.py` is the order of events and the cleaning up; `uploads.py` and `manifests.py` ask one
question each; `facts.py` holds what may be answered, in words, and what it changes in a row of
the quirk table; `kept.py` keeps answers for the runs of this machine.
"""
