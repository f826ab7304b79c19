"""What a registry was seen to do, kept on this machine.

`facts.py` holds what may be answered, in words, and what it changes in a row of the quirk table;
`kept.py` keeps answers for the runs of this machine.
"""
