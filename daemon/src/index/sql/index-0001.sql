-- Places that are watched, and how well.
CREATE TABLE root (
  path BLOB PRIMARY KEY,
  app TEXT NOT NULL,
  derived_from BLOB,
  online INTEGER NOT NULL,
  offline_since TEXT,
  watched INTEGER NOT NULL,
  reason TEXT,
  rescans INTEGER NOT NULL DEFAULT 0,
  last_scan TEXT
) STRICT;

-- Directories of a root that are understood at once.
CREATE TABLE unit (
  id INTEGER PRIMARY KEY,
  root BLOB NOT NULL REFERENCES root(path) ON DELETE CASCADE,
  dir BLOB NOT NULL,
  UNIQUE (root, dir)
) STRICT;

-- What a unit's answer rests on: directories listed, files read, paths that were missing.
-- A stamp of NULL never equals: the path was missing or changing when it was looked at.
CREATE TABLE depend (
  unit INTEGER NOT NULL REFERENCES unit(id) ON DELETE CASCADE,
  path BLOB NOT NULL,
  is_dir INTEGER NOT NULL,
  stamp TEXT,
  PRIMARY KEY (unit, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX depend_path ON depend(path);

-- Weight files that were read; `path` is where the bytes are opened (links followed).
CREATE TABLE file (
  path BLOB PRIMARY KEY,
  volume TEXT NOT NULL,
  inode INTEGER NOT NULL,
  stamp TEXT NOT NULL,
  sampled BLOB NOT NULL,
  is_whole INTEGER NOT NULL,
  verdict TEXT NOT NULL
) STRICT;
CREATE INDEX file_inode ON file(volume, inode);

-- Where an app holds a model. `placed` is everything about it but the verdicts of its files.
CREATE TABLE location (
  id INTEGER PRIMARY KEY,
  unit INTEGER NOT NULL REFERENCES unit(id) ON DELETE CASCADE,
  app TEXT NOT NULL,
  handle TEXT NOT NULL,
  model TEXT NOT NULL,
  content BLOB NOT NULL,
  is_whole INTEGER NOT NULL,
  placed TEXT NOT NULL,
  -- What it is made of, in short: while it is the same, it needs no other look.
  fingerprint INTEGER,
  online INTEGER NOT NULL,
  UNIQUE (unit, app, handle)
) STRICT;
CREATE INDEX location_model ON location(model);

-- Models as the wire shows them, made from their locations and what the user said.
CREATE TABLE model (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL COLLATE NOCASE,
  state TEXT NOT NULL,
  disk_size INTEGER NOT NULL,
  names TEXT NOT NULL,
  json TEXT NOT NULL,
  facts TEXT
) STRICT;
CREATE INDEX model_name ON model(name, id);

-- Which model a content is. user.db has the durable copy; this one is written first.
CREATE TABLE content (
  key BLOB PRIMARY KEY,
  model TEXT NOT NULL,
  is_whole INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX content_model ON content(model);
