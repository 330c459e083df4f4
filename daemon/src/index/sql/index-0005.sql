-- What relatives and companions of each model are told by, apart from the models: it is read of all of them at once.
CREATE TABLE kin (
  model TEXT PRIMARY KEY,
  json TEXT NOT NULL
) STRICT, WITHOUT ROWID;
