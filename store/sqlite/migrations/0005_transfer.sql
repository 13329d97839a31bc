-- +goose Up

-- A row is here while a copy into this database is under way: it is not whole.
CREATE TABLE transfer (
  id     INTEGER PRIMARY KEY,
  source TEXT    NOT NULL,
  began  INTEGER NOT NULL
) STRICT;
