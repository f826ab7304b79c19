"""What a plan, a state and a destination must agree on before a row is carried out, or again."""
