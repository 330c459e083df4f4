-- A file that ends before the place that AutoV1 reads has none; what was kept of such files was the hash of nothing.
UPDATE hash SET autov1 = NULL WHERE autov1 = 'e3b0c442';
