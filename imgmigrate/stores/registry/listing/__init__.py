"""What is there: tags of a repository, repositories of a registry."""
