"""What several formats are made of: values, variables, ranges, repositories."""
