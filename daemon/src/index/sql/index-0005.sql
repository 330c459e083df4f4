-- What relatives and companions of each model are told by. kin is read of all models at once; part, which is longer,
-- only of those that may meet what is asked for.
CREATE TABLE kin (
  model TEXT PRIMARY KEY,
  kin TEXT NOT NULL,
  kind TEXT,
  family TEXT,
  -- Of a model, or that a projector projects to.
  width INTEGER,
  tokens TEXT,
  part TEXT NOT NULL
) STRICT;
CREATE INDEX kin_meets ON kin (kind, family, width, tokens);
