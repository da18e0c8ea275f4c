-- +goose Up
-- The same as in postgres/.
CREATE TABLE limits (
    digest     blob NOT NULL, -- of the address: HMAC with a key that is not in this database
    kind       text NOT NULL,  -- login, known, send, reset, code
    network    text NOT NULL,  -- '': all of them, or all that are not known
    count      integer NOT NULL,   -- in a row
    last_at    timestamp NOT NULL,
    hour_at    timestamp NOT NULL,
    hour_count integer NOT NULL,
    day_at     timestamp NOT NULL,
    day_count  integer NOT NULL,
    PRIMARY KEY (digest, kind, network)
);
CREATE INDEX limits_by_age ON limits (last_at);

-- +goose Down
DROP TABLE limits;
