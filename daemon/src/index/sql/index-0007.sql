-- Which filesystem is seen where, at a root and below it; `top` is the directory of it that is shown.
CREATE TABLE seat (
  root BLOB NOT NULL REFERENCES root(path) ON DELETE CASCADE,
  point BLOB NOT NULL,
  volume TEXT NOT NULL,
  top BLOB NOT NULL,
  PRIMARY KEY (root, point)
) STRICT, WITHOUT ROWID;

-- What was seen at or below a root and is not now has a root of its own, under a `path` that no file has: `inside` is
-- the root that it is part of, `point` and `top` are those of its seat. Several may have been seen at one point.
ALTER TABLE root ADD COLUMN inside BLOB;
ALTER TABLE root ADD COLUMN point BLOB;
ALTER TABLE root ADD COLUMN top BLOB;
