-- +goose Up

-- A registered agent. change is the version of the registry (registry_version) that
-- wrote the row, size the number of words in its texts.
CREATE TABLE agent (
  id         text COLLATE "C" PRIMARY KEY,
  rev        bigint NOT NULL,
  change     bigint NOT NULL,
  type       text COLLATE "C" NOT NULL,
  registered bigint,
  updated    bigint,
  size       integer NOT NULL,
  body       bytea
);

CREATE INDEX agent_change ON agent (change);

-- What a beat changes. No index holds what changes, so that an update stays on its
-- page.
CREATE TABLE agent_life (
  id     text COLLATE "C" PRIMARY KEY,
  seen   bigint,
  alive  boolean NOT NULL,
  counts bytea
) WITH (fillfactor = 50);

-- The words of agents, in lower case, and how often each stands in the names, the
-- abilities, the description and the rest. type and size are the agent's, so that a
-- search reads no other table.
CREATE TABLE agent_word (
  word        text COLLATE "C" NOT NULL,
  agent       text COLLATE "C" NOT NULL,
  type        text COLLATE "C" NOT NULL,
  size        integer NOT NULL,
  names       smallint NOT NULL,
  abilities   smallint NOT NULL,
  description smallint NOT NULL,
  rest        smallint NOT NULL,
  PRIMARY KEY (word, agent)
);

CREATE INDEX agent_word_agent ON agent_word (agent);

-- Facts that are there at most once.
CREATE TABLE mark (
  kind    text COLLATE "C" NOT NULL,
  value   text COLLATE "C" NOT NULL,
  change  bigint NOT NULL,
  body    bytea,
  expires bigint,
  PRIMARY KEY (kind, value)
);

CREATE INDEX mark_change  ON mark (change);
CREATE INDEX mark_expires ON mark (expires) WHERE expires IS NOT NULL;

CREATE TABLE revocation (
  kind    text COLLATE "C" NOT NULL,
  value   text COLLATE "C" NOT NULL,
  change  bigint NOT NULL,
  before  bigint,
  expires bigint,
  PRIMARY KEY (kind, value)
);

CREATE INDEX revocation_change  ON revocation (change);
CREATE INDEX revocation_expires ON revocation (expires) WHERE expires IS NOT NULL;

-- What was deleted by which version, and when: what is 'agent' (kind is empty then)
-- or 'mark'. What has come back since may be in here too.
CREATE TABLE gone (
  change bigint NOT NULL,
  what   text COLLATE "C" NOT NULL,
  kind   text COLLATE "C" NOT NULL,
  value  text COLLATE "C" NOT NULL,
  at     bigint NOT NULL,
  PRIMARY KEY (what, kind, value)
);

CREATE INDEX gone_change ON gone (change);

-- One row: how many changes there were. A change takes its number under the row's
-- lock, which it holds until it is committed: numbers rise in the order of commits,
-- and nobody who reads up to n misses one below it. Rows of gone up to pruned are no
-- more. agents and words count agents and the words in their texts, by which a search
-- ranks: they are count(*) and sum(size) of agent.
CREATE TABLE registry_version (
  id     smallint PRIMARY KEY,
  n      bigint NOT NULL,
  pruned bigint NOT NULL,
  agents bigint NOT NULL,
  words  bigint NOT NULL
);

INSERT INTO registry_version (id, n, pruned, agents, words) VALUES (1, 1, 0, 0, 0);

-- The audit log. Its numbers come from audit_next, in the order of commits.
CREATE TABLE audit (
  id      bigint PRIMARY KEY,
  at      bigint NOT NULL,
  event   text COLLATE "C" NOT NULL,
  outcome text COLLATE "C" NOT NULL,
  actor   text COLLATE "C",
  agent   text COLLATE "C",
  body    bytea
);

CREATE INDEX audit_at    ON audit (at, id);
CREATE INDEX audit_event ON audit (event, id);
CREATE INDEX audit_actor ON audit (actor, id) WHERE actor IS NOT NULL;
CREATE INDEX audit_agent ON audit (agent, id) WHERE agent IS NOT NULL;

-- One row: the last number, and by how much the time of an entry was ever below that
-- of an earlier one. The latter turns a span of time into a span of ids.
CREATE TABLE audit_next (
  id     smallint PRIMARY KEY,
  last   bigint NOT NULL,
  newest bigint NOT NULL,
  late   bigint NOT NULL
);

INSERT INTO audit_next (id, last, newest, late) VALUES (1, 0, 0, 0);
