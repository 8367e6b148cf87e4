"""What surrounds the service, file for file as in infra/."""
