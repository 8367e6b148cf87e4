"""Identity providers: OpenID Connect issuers, and GitHub.

web        HTTP requests to providers, within limits, to public addresses only
issuers    the documents and keys of issuers, cached
id_tokens  the verification of ID tokens
providers  the providers with which users sign in

Only the functions `account` and `exchange` import it, because PyJWT verifies RS256 and ES256 with
the package cryptography, which only their package contains.
"""
