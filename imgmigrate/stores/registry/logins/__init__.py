"""Where logins come from: the config, docker's files, credential helpers and commands."""
