"""Groups, the lease and the spool."""
