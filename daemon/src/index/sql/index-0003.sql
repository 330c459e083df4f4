-- The filesystem that a root was on when it was last seen: an empty folder on another one is an unplugged disk.
ALTER TABLE root ADD COLUMN volume TEXT;
