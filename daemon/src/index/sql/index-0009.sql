-- What models take together is counted by inodes, not by models.
ALTER TABLE model DROP COLUMN disk_size;
