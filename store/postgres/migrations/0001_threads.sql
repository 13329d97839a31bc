-- +goose Up

-- A task or chat. Times are milliseconds since 1970 in UTC, NULL for "not set".
-- Room is left on each page, so that an update that no index sees stays on it. nonce
-- is a random number of the change that wrote the row: by it a writer knows its own.
CREATE TABLE thread (
  id       text COLLATE "C" PRIMARY KEY,
  kind     smallint NOT NULL,
  owner    text COLLATE "C" NOT NULL,
  sender   text COLLATE "C" NOT NULL,
  agent    text COLLATE "C" NOT NULL,
  trace    text COLLATE "C",
  parent   text COLLATE "C",
  status   text COLLATE "C" NOT NULL,
  priority text COLLATE "C" NOT NULL,
  created  bigint,
  updated  bigint,
  ended    bigint,
  rev      bigint NOT NULL,
  nonce    bigint NOT NULL,
  seq      bigint NOT NULL,
  items    bigint NOT NULL,
  ready    boolean NOT NULL,
  rank     bigint NOT NULL,
  due      bigint,
  body     bytea
) WITH (fillfactor = 80);

-- The ids that break ties of created and rank are not in these: rows of one
-- millisecond are few to sort, and every create pays for what an index holds.
CREATE INDEX thread_list   ON thread (owner, created);
CREATE INDEX thread_trace  ON thread (owner, trace, created, id) WHERE trace IS NOT NULL;
CREATE INDEX thread_parent ON thread (parent, id) WHERE parent IS NOT NULL;
CREATE INDEX thread_ready  ON thread (agent, owner, rank) WHERE ready;
CREATE INDEX thread_due    ON thread (due) WHERE due IS NOT NULL;
CREATE INDEX thread_ended  ON thread (ended) WHERE ended IS NOT NULL;

-- What one commit added to a thread: its events and items, packed. pos is the
-- number of events and items after the commit, seq that of the last event.
CREATE TABLE log (
  thread text COLLATE "C" NOT NULL,
  pos    bigint NOT NULL,
  seq    bigint NOT NULL,
  events bytea,
  items  bytea,
  PRIMARY KEY (thread, pos)
);

-- Idempotency keys.
CREATE TABLE idem (
  owner   text COLLATE "C" NOT NULL,
  name    text COLLATE "C" NOT NULL,
  thread  text COLLATE "C" NOT NULL,
  hash    bytea,
  reply   bytea,
  expires bigint,
  PRIMARY KEY (owner, name)
);

CREATE INDEX idem_expires ON idem (expires) WHERE expires IS NOT NULL;

-- One row that a health check writes to.
CREATE TABLE probe (
  id   smallint PRIMARY KEY,
  beat bigint NOT NULL
);

INSERT INTO probe (id, beat) VALUES (1, 0);
