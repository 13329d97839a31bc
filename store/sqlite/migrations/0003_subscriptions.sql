-- +goose Up

-- The thread whose agent made this one. Most threads have none, so the index costs a
-- plain create nothing.
ALTER TABLE thread ADD COLUMN parent TEXT;

CREATE INDEX thread_parent ON thread (parent, id) WHERE parent IS NOT NULL;

-- With the owner in it, the index leads from the tasks of one owner to those of
-- the next without a look at the many in between.
DROP INDEX thread_ready;
CREATE INDEX thread_ready ON thread (agent, owner, rank) WHERE ready = 1;

-- Who is told of a thread's events, and the job of telling. due is NULL while
-- there is nothing to do, lease while nobody does it.
CREATE TABLE subscription (
  id      TEXT PRIMARY KEY,
  thread  TEXT    NOT NULL,
  owner   TEXT    NOT NULL,
  created INTEGER,
  ended   INTEGER,
  cursor  INTEGER NOT NULL,
  due     INTEGER,
  lease   TEXT,
  body    BLOB
) STRICT, WITHOUT ROWID;

-- The id ends every index of a table like these two, so each of them gives its
-- rows in the order of a page.
CREATE INDEX subscription_thread ON subscription (thread);
CREATE INDEX subscription_owner  ON subscription (owner);
CREATE INDEX subscription_due    ON subscription (due) WHERE due IS NOT NULL AND ended IS NULL;

-- One attempt to tell one event.
CREATE TABLE delivery (
  id           TEXT PRIMARY KEY,
  subscription TEXT    NOT NULL,
  thread       TEXT    NOT NULL,
  owner        TEXT    NOT NULL,
  seq          INTEGER NOT NULL,
  at           INTEGER,
  state        INTEGER NOT NULL,
  body         BLOB
) STRICT, WITHOUT ROWID;

-- A page of all states is merged from one of each, so that the few that failed
-- are found among many that did not, and the index serves both. A thread has
-- few subscriptions: those of one are found by their thread.
CREATE INDEX delivery_owner  ON delivery (owner, state);
CREATE INDEX delivery_thread ON delivery (thread);
