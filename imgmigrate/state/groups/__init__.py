"""What every kind of state that machines share writes by: groups, a lease, and a spool."""
