-- Engines that the user added, by their program.
CREATE TABLE engine (
  path BLOB PRIMARY KEY,
  added TEXT NOT NULL
) STRICT;
