"""The model of SQL: one owner executes what writes, readers look, the log has every changed row."""
