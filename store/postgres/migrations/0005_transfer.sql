-- +goose Up

-- Who has the database open: 'server', a replica, or 'copy', who must have it alone.
-- Times are those of the database server.
CREATE TABLE replica (
  id    text COLLATE "C" PRIMARY KEY,
  role  text COLLATE "C" NOT NULL,
  host  text COLLATE "C" NOT NULL,
  since bigint NOT NULL,
  until bigint NOT NULL
) WITH (fillfactor = 50);

-- A row is here while a copy into this database is under way: it is not whole.
CREATE TABLE transfer (
  id     smallint PRIMARY KEY,
  source text COLLATE "C" NOT NULL,
  began  bigint NOT NULL
);
