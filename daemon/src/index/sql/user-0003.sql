-- Hashes of whole files: hours of reading. `same` is a file's stamp without its ctime, which a new hard link changes
-- too; `sampled` is what its content was known as then, so that a row of another content is never used.
CREATE TABLE hash (
  same TEXT PRIMARY KEY,
  sampled BLOB NOT NULL,
  sha256 TEXT NOT NULL,
  tensors TEXT,
  autov1 TEXT,
  autov2 TEXT,
  autov3 TEXT,
  computed TEXT NOT NULL
) STRICT, WITHOUT ROWID;
