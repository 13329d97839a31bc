-- +goose Up

-- Buckets of rate limits: tokens as of a time, with the rate (a second) and burst
-- that were asked with last. took is what the last one got.
CREATE TABLE quota (
  key    text COLLATE "C" PRIMARY KEY,
  tokens double precision NOT NULL,
  took   bigint NOT NULL,
  rate   double precision NOT NULL,
  burst  bigint NOT NULL,
  at     bigint NOT NULL
) WITH (fillfactor = 50);
