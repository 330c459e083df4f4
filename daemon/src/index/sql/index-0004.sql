-- The weight files of each model whose hashes are known.
CREATE TABLE hashed (
  model TEXT NOT NULL,
  path BLOB NOT NULL,
  sha256 TEXT NOT NULL,
  tensors TEXT,
  PRIMARY KEY (model, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX hashed_path ON hashed(path);
CREATE INDEX hashed_tensors ON hashed(tensors) WHERE tensors IS NOT NULL;
