-- Paths at which locations hold the bytes of weights: whole files only, `no` counts a location's files.
-- Equal bytes have an equal sampled id, so that copies find each other, wherever they are parts of.
CREATE TABLE held (
  location INTEGER NOT NULL REFERENCES location(id) ON DELETE CASCADE,
  no INTEGER NOT NULL,
  path BLOB NOT NULL,
  is_weights INTEGER NOT NULL,
  sampled BLOB NOT NULL,
  sha256 TEXT,
  volume TEXT NOT NULL,
  inode INTEGER NOT NULL,
  PRIMARY KEY (location, no)
) STRICT, WITHOUT ROWID;
CREATE INDEX held_sampled ON held(sampled);

-- What a model's words are, in lower case, its name on the first line: for texts that stand within a word.
-- `model` is the row of the model here and in `word_index`, which has whole words with their accents taken off.
CREATE TABLE words (
  model INTEGER PRIMARY KEY,
  text TEXT NOT NULL
) STRICT;
CREATE VIRTUAL TABLE word_index USING fts5(
  text, content = '', contentless_delete = 1, detail = none, tokenize = 'unicode61 remove_diacritics 2'
);

-- Words of the cards that locations have; the texts themselves are not kept.
CREATE VIRTUAL TABLE card_index USING fts5(
  text, content = '', contentless_delete = 1, detail = none, tokenize = 'unicode61 remove_diacritics 2'
);
CREATE TRIGGER location_gone AFTER DELETE ON location BEGIN
  DELETE FROM card_index WHERE rowid = old.id;
END;
