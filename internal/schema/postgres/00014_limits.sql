-- +goose Up
-- What has been tried for an address, known or not. Rows are purged a day after the last try, those of known networks 30
-- days after the last login.
CREATE TABLE limits (
    digest     bytea NOT NULL, -- of the address: HMAC with a key that is not in this database
    kind       text NOT NULL,  -- login, known, send, reset, code
    network    text NOT NULL,  -- '': all of them, or all that are not known
    count      int NOT NULL,   -- in a row
    last_at    timestamptz NOT NULL,
    hour_at    timestamptz NOT NULL,
    hour_count int NOT NULL,
    day_at     timestamptz NOT NULL,
    day_count  int NOT NULL,
    PRIMARY KEY (digest, kind, network)
);
CREATE INDEX limits_by_age ON limits (last_at);

-- +goose Down
DROP TABLE limits;
