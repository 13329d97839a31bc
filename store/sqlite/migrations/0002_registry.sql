-- +goose Up

-- A registered agent. n is also the number of its words in agent_text.
CREATE TABLE agent (
  n          INTEGER PRIMARY KEY,
  id         TEXT    NOT NULL UNIQUE,
  rev        INTEGER NOT NULL,
  type       TEXT    NOT NULL,
  registered INTEGER,
  updated    INTEGER,
  body       BLOB
) STRICT;

-- What a beat changes. It is apart from the bodies because ten thousand beats
-- come at once, and a change of a short row is cheap. Each agent has one.
CREATE TABLE agent_life (
  id     TEXT    PRIMARY KEY,
  seen   INTEGER,
  alive  INTEGER NOT NULL,
  counts BLOB
) STRICT, WITHOUT ROWID;

-- The words of agents, without the texts that they come from. Letters of all
-- scripts count, in either case; é is not e.
CREATE VIRTUAL TABLE agent_text USING fts5 (
  names, abilities, description, rest,
  content = '', contentless_delete = 1,
  tokenize = 'unicode61 remove_diacritics 0'
);

-- Facts that are there at most once.
CREATE TABLE mark (
  kind    TEXT NOT NULL,
  value   TEXT NOT NULL,
  body    BLOB,
  expires INTEGER,
  PRIMARY KEY (kind, value)
) STRICT, WITHOUT ROWID;

CREATE INDEX mark_expires ON mark (expires) WHERE expires IS NOT NULL;

CREATE INDEX revocation_expires ON revocation (expires) WHERE expires IS NOT NULL;

-- The audit log. AUTOINCREMENT: a number that was pruned is never given again.
CREATE TABLE audit (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  at      INTEGER NOT NULL,
  event   TEXT    NOT NULL,
  outcome TEXT    NOT NULL,
  actor   TEXT,
  agent   TEXT,
  body    BLOB
) STRICT;

-- The id ends every index of a table like this, so each of them gives its rows
-- in the order of a page.
CREATE INDEX audit_at    ON audit (at);
CREATE INDEX audit_event ON audit (event);
CREATE INDEX audit_actor ON audit (actor) WHERE actor IS NOT NULL;
CREATE INDEX audit_agent ON audit (agent) WHERE agent IS NOT NULL;

-- One row: by how much the time of an entry was ever below that of an earlier
-- one. It turns a span of time into a span of ids.
CREATE TABLE audit_order (
  id   INTEGER PRIMARY KEY,
  late INTEGER NOT NULL
) STRICT;

INSERT INTO audit_order (id, late) VALUES (1, 0);
