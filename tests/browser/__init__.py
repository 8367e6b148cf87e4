"""Stories of a person with a browser, against a hub that `infra.serve` runs."""
