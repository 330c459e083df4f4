-- What runs took of memory when they were ready, beside what was planned, and how fast they were at their end.
CREATE TABLE measured (
  run TEXT PRIMARY KEY,
  model TEXT NOT NULL REFERENCES model(id),
  engine TEXT NOT NULL,
  -- The engine's version as it printed it: buffers differ between versions.
  build TEXT NOT NULL,
  at TEXT NOT NULL,
  -- domain::plan::Measured as JSON.
  taken TEXT NOT NULL,
  -- domain::engines::Rates as JSON.
  speed TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX measured_model ON measured(model, engine, build, at);
