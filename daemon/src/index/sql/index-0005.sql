-- What relatives and companions of each model are told by; read of the few that may be meant, never of all.
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

-- What a model is known by (is_own), and what it names as that which it was made from.
CREATE TABLE kin_word (
  model TEXT NOT NULL,
  is_own INTEGER NOT NULL,
  word TEXT NOT NULL,
  PRIMARY KEY (model, is_own, word)
) STRICT, WITHOUT ROWID;
CREATE INDEX kin_word_by_word ON kin_word (word, is_own, model);
