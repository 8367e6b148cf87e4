"""Sign-in at another implementation of OpenID Connect."""
