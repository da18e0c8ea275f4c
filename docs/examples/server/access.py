"""Verifies access tokens of the Identity Service (docs/integrate.md). Needs PyJWT 2.x."""

import os
from http.cookies import CookieError, SimpleCookie

import jwt


def secrets():
    """JWT_SECRET and, while that changes, JWT_SECRET_PREVIOUS: the strings as they are, not decoded."""
    keys = [os.environ["JWT_SECRET"]] + list(filter(None, [os.environ.get("JWT_SECRET_PREVIOUS")]))
    if any(len(key.encode()) < 32 for key in keys):  # an empty one would accept what anybody has signed
        raise SystemExit("JWT_SECRET needs at least 32 bytes")
    return keys


def check(token, keys):
    """Returns the claims: sub is the user's id, username the address, role USER or ADMIN."""
    problem = jwt.InvalidTokenError("no key")
    for key in keys:
        try:
            claims = jwt.decode(token, key, algorithms=["HS256"],  # or the token would choose
                                leeway=30,  # what the clocks of two machines may differ
                                options={"require": ["sub", "iat", "exp"]})
        except jwt.InvalidTokenError as e:
            problem = e
            continue
        if claims.get("type") != "access":
            raise jwt.InvalidTokenError("not an access token")
        return claims
    raise problem


def user_of(headers, keys):
    """Returns the claims of the first good token. A browser may send two cookies of the same name."""
    tokens = []
    for pair in headers.get("Cookie", "").split(";"):  # SimpleCookie alone keeps the last one of a name
        try:
            tokens += [morsel.value for name, morsel in SimpleCookie(pair).items() if name == "smap_auth_token"]
        except CookieError:
            continue
    scheme, _, bearer = headers.get("Authorization", "").partition(" ")
    if scheme == "Bearer":
        tokens.append(bearer)
    problem = jwt.InvalidTokenError("no token")
    for token in tokens:
        try:
            return check(token, keys)
        except jwt.InvalidTokenError as e:
            problem = e
    raise problem
