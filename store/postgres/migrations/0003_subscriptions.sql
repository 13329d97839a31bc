-- +goose Up

-- Who is told of a thread's events, and the job of telling. due is NULL while
-- there is nothing to do, lease while nobody does it.
CREATE TABLE subscription (
  id      text COLLATE "C" PRIMARY KEY,
  thread  text COLLATE "C" NOT NULL,
  owner   text COLLATE "C" NOT NULL,
  created bigint,
  ended   bigint,
  cursor  bigint NOT NULL,
  due     bigint,
  lease   text COLLATE "C",
  body    bytea
) WITH (fillfactor = 70);

CREATE INDEX subscription_thread ON subscription (thread, id);
CREATE INDEX subscription_owner  ON subscription (owner, id);
CREATE INDEX subscription_due    ON subscription (due) WHERE due IS NOT NULL AND ended IS NULL;

-- One attempt to tell one event.
CREATE TABLE delivery (
  id           text COLLATE "C" PRIMARY KEY,
  subscription text COLLATE "C" NOT NULL,
  thread       text COLLATE "C" NOT NULL,
  owner        text COLLATE "C" NOT NULL,
  seq          bigint NOT NULL,
  at           bigint,
  state        smallint NOT NULL,
  body         bytea
);

-- A page of all states is merged from one of each, so that the few that failed
-- are found among many that did not, and the index serves both.
CREATE INDEX delivery_owner  ON delivery (owner, state, id);
CREATE INDEX delivery_thread ON delivery (thread, id);
