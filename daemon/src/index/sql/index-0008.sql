-- Links of a unit to directories outside its root; `target` is where one leads, with every link resolved.
CREATE TABLE link (
  unit INTEGER NOT NULL REFERENCES unit(id) ON DELETE CASCADE,
  path BLOB NOT NULL,
  target BLOB NOT NULL,
  PRIMARY KEY (unit, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX link_target ON link(target);
