-- Model ids, minted once.
CREATE TABLE model (
  id TEXT PRIMARY KEY,
  first_seen TEXT NOT NULL
) STRICT;

-- Contents that are this model: sampled ids, later hashes. `last_path` is a hint for people.
CREATE TABLE content (
  key BLOB PRIMARY KEY,
  model TEXT NOT NULL REFERENCES model(id),
  last_path BLOB
) STRICT, WITHOUT ROWID;

CREATE TABLE tag (
  model TEXT NOT NULL REFERENCES model(id),
  tag TEXT NOT NULL,
  PRIMARY KEY (model, tag)
) STRICT, WITHOUT ROWID;

CREATE TABLE note (
  model TEXT PRIMARY KEY REFERENCES model(id),
  note TEXT NOT NULL
) STRICT;

CREATE TABLE pin (
  model TEXT PRIMARY KEY REFERENCES model(id)
) STRICT;

CREATE TABLE alias (
  alias TEXT PRIMARY KEY,
  model TEXT NOT NULL REFERENCES model(id)
) STRICT;

-- Launches, for `last_used`.
CREATE TABLE run (
  id INTEGER PRIMARY KEY,
  model TEXT NOT NULL REFERENCES model(id),
  engine TEXT NOT NULL,
  started TEXT NOT NULL
) STRICT;
CREATE INDEX run_model ON run(model, started);

-- Roots that the user added.
CREATE TABLE root (
  path BLOB PRIMARY KEY,
  added TEXT NOT NULL
) STRICT;
