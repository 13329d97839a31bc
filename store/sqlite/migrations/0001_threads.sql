-- +goose Up

-- A task or chat. Times are milliseconds since 1970 in UTC, NULL for "not set".
-- n numbers threads in order of arrival: rows are appended, and log.pos is
-- built from it.
CREATE TABLE thread (
  n        INTEGER PRIMARY KEY,
  id       TEXT    NOT NULL UNIQUE,
  kind     INTEGER NOT NULL,
  owner    TEXT    NOT NULL,
  sender   TEXT    NOT NULL,
  agent    TEXT    NOT NULL,
  trace    TEXT,
  status   TEXT    NOT NULL,
  priority TEXT    NOT NULL,
  created  INTEGER,
  updated  INTEGER,
  ended    INTEGER,
  rev      INTEGER NOT NULL,
  seq      INTEGER NOT NULL,
  items    INTEGER NOT NULL,
  ready    INTEGER NOT NULL,
  rank     INTEGER NOT NULL,
  due      INTEGER,
  body     BLOB
) STRICT;

-- The ids that break ties of created and rank are not in these two: rows of one
-- millisecond are few to sort, and every create pays for what an index holds.
CREATE INDEX thread_list  ON thread (owner, created);
CREATE INDEX thread_trace ON thread (owner, trace, created, id) WHERE trace IS NOT NULL;
CREATE INDEX thread_ready ON thread (agent, rank) WHERE ready = 1;
CREATE INDEX thread_due   ON thread (due) WHERE due IS NOT NULL;
CREATE INDEX thread_ended ON thread (ended) WHERE ended IS NOT NULL;

-- What one commit added to a thread: its events and items, packed. pos is the
-- thread's n times 2^24 plus the number of events and items after the commit,
-- so that a history is one range of the table. seq is the number of the last
-- event after the commit.
CREATE TABLE log (
  pos    INTEGER PRIMARY KEY,
  seq    INTEGER NOT NULL,
  events BLOB,
  items  BLOB
) STRICT;

-- Idempotency keys.
CREATE TABLE idem (
  owner   TEXT NOT NULL,
  name    TEXT NOT NULL,
  thread  TEXT NOT NULL,
  hash    BLOB,
  reply   BLOB,
  expires INTEGER,
  PRIMARY KEY (owner, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX idem_expires ON idem (expires) WHERE expires IS NOT NULL;

CREATE TABLE revocation (
  kind    TEXT NOT NULL,
  value   TEXT NOT NULL,
  before  INTEGER,
  expires INTEGER,
  PRIMARY KEY (kind, value)
) STRICT, WITHOUT ROWID;

-- One row that a health check writes to.
CREATE TABLE probe (
  id   INTEGER PRIMARY KEY,
  beat INTEGER NOT NULL
) STRICT;

INSERT INTO probe (id, beat) VALUES (1, 0);
