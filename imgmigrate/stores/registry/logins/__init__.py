"""Where logins come from: each source one file, their order a tuple in `keyring.py`."""
