"""What the user wrote: models, YAML with places, foreign formats later."""
