-- Facts are what the verdicts of a model's files say together; they need not be stored twice.
ALTER TABLE model DROP COLUMN facts;
